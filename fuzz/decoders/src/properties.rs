//! A `server.properties`.

use corelog::config::{BrokerConfig, Given, parse_properties};

/// Reads it as a start does. A refusal is one line.
pub fn run(bytes: &[u8]) {
    let pairs = match parse_properties(bytes) {
        Ok(pairs) => pairs,
        Err(error) => return assert_line(&error),
    };
    let mut given = Given::default();
    for (key, value) in pairs {
        match given.set(&key, &value) {
            Ok(warning) => warning.iter().for_each(|warning| assert_line(warning)),
            Err(error) => return assert_line(&error.to_string()),
        }
    }
    match BrokerConfig::build(given) {
        Ok(config) => config.clamped().iter().for_each(|line| assert_line(line)),
        Err(error) => assert_line(&error.to_string()),
    }
}

fn assert_line(text: &str) {
    assert!(!text.is_empty() && !text.contains('\n'), "not one line: {text:?}");
}
