//! What a topic may be called (Kafka's `Topic.validate`), and which names collide in metric names.
//!
//! Called by `decide`, and by the API handlers before an auto-creation. Deliberately absent: which topics exist.

/// Longest name of a topic, in bytes: a folder `<name>-<partition>` must fit into a file name.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Says why `name` cannot name a topic, in Kafka's words.
///
/// # Errors
/// The text for the protocol's error_message; the code is INVALID_TOPIC_EXCEPTION.
pub fn check_topic_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("Topic name is invalid: the empty string is not allowed".to_owned());
    }
    if name == "." || name == ".." {
        return Err("Topic name is invalid: '.' or '..' is not allowed".to_owned());
    }
    if name.len() > TOPIC_NAME_BYTES_MAX {
        return Err(format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}"
        ));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// The name under which two topics collide: '.' and '_' are the same in metric names. None when it holds neither.
pub(super) fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}
