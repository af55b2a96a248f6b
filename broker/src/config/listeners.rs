//! Parses `listeners` and `advertised.listeners`: NAME://host:port, as Kafka writes them.
//!
//! Deliberately absent: resolving names and binding (`net`), and any protocol but PLAINTEXT, which is refused.

use super::setting::list;

/// One listener as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name, for example PLAINTEXT.
    pub name: String,
    /// Host to bind or to advertise; empty means every interface.
    pub host: String,
    /// Port; 0 means any free one.
    pub port: u16,
}

/// Parses a list of listeners, leaving out those whose name is in `ignored` (a node is its own controller).
///
/// # Errors
/// What is wrong with which element, for the caller to put the key before.
pub fn parse(value: &str, ignored: &[String]) -> Result<Vec<Listener>, String> {
    let mut listeners: Vec<Listener> = Vec::new();
    for item in list(value) {
        let listener = parse_one(item)?;
        if ignored.iter().any(|name| name.eq_ignore_ascii_case(&listener.name)) {
            continue;
        }
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(format!("{item}: the listener name {} is used twice", listener.name));
        }
        if listener.port != 0
            && listeners.iter().any(|other| other.port == listener.port && other.host == listener.host)
        {
            return Err(format!("{item}: {}:{} is used twice", listener.host, listener.port));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn parse_one(item: &str) -> Result<Listener, String> {
    let expected = "expected NAME://host:port, for example PLAINTEXT://127.0.0.1:9092";
    let (name, address) = item.split_once("://").ok_or_else(|| format!("{item}: {expected}"))?;
    let (host, port) = address.rsplit_once(':').ok_or_else(|| format!("{item}: {expected}"))?;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Err(format!("{item}: {expected}"));
    }
    let port = port
        .parse::<u16>()
        .map_err(|_| format!("{item}: the port {port} is not a number from 0 to 65535"))?;
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    Ok(Listener { name: name.to_owned(), host: host.to_owned(), port })
}

/// Checks that every listener's protocol is one that is served.
///
/// # Errors
/// Names the listener and the protocol that is not served.
pub fn check_protocols(listeners: &[Listener], protocol_map: &str) -> Result<(), String> {
    for listener in listeners {
        let mapped = list(protocol_map)
            .filter_map(|pair| pair.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(&listener.name))
            .map(|(_, protocol)| protocol.trim().to_ascii_uppercase());
        let protocol = mapped.unwrap_or_else(|| listener.name.to_ascii_uppercase());
        if protocol != "PLAINTEXT" {
            return Err(format!(
                "listener {} asks for {protocol}, and only PLAINTEXT is served so far (see listener.security.protocol.map)",
                listener.name
            ));
        }
    }
    Ok(())
}
