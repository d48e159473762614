//! The settings as they are in force, for people, with what is secret left out.

use serde_json::Value;

use crate::Config;

/// Settings whose names end so are secret.
const SECRET: [&str; 5] = ["token", "password", "secret", "api_key", "app_key"];
const HIDDEN: &str = "***";

/// The settings as TOML.
pub fn print(config: &Config) -> anyhow::Result<String> {
    let mut all = serde_json::to_value(config)?;
    redact(&mut all);
    Ok(toml::to_string(&all)?)
}

/// Hides secrets, and takes out what is not set: TOML has no word for that.
fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (name, value) in fields {
                let is_secret = SECRET.iter().any(|secret| name.ends_with(secret));
                if is_secret && value.is_string() {
                    *value = HIDDEN.into();
                }
                redact(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        Value::String(text) => {
            // A URL may have a name and a password in it.
            if let Some((scheme, rest)) = text.split_once("://")
                && let Some((_, place)) = rest.rsplit_once('@')
            {
                *text = format!("{scheme}://{HIDDEN}@{place}");
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed_and_the_rest_can_be_read_again() {
        let mut config = Config::separate();
        config.admin.token = Some("hunter2".into());
        config.storage.scylla.user = Some("clarion".into());
        config.storage.scylla.password = Some("hunter3".into());
        config.telemetry.otlp_endpoint = Some("http://me:hunter4@collector:4317".into());
        let text = print(&config).expect("printed");
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.contains("http://***@collector:4317"), "{text}");
        let file = std::env::temp_dir().join(format!("clarion-print-{}.toml", std::process::id()));
        std::fs::write(&file, text).expect("written");
        let again = Config::read(Some(&file), &[]);
        let _ = std::fs::remove_file(&file);
        assert_eq!(again.expect("valid").peers, config.peers);
    }
}
