//! The kinds of resources that have configurations (`ConfigResource.Type`), as requests number them.
//!
//! Used by the APIs that describe, list and change configurations. Deliberately absent: what a resource's keys are.

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResourceType {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
}

impl ResourceType {
    /// All of them, in the order in which Kafka lists them.
    pub(super) const ALL: [Self; 5] =
        [Self::Group, Self::ClientMetrics, Self::BrokerLogger, Self::Broker, Self::Topic];

    /// The kind of this number.
    pub(super) fn of(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.code() == code)
    }

    /// Its number.
    pub(super) fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }

    /// Kafka's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Topic => "TOPIC",
            Self::Broker => "BROKER",
            Self::BrokerLogger => "BROKER_LOGGER",
            Self::ClientMetrics => "CLIENT_METRICS",
            Self::Group => "GROUP",
        }
    }
}
