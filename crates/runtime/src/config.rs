//! Settings: defaults, then a file (TOML), then the environment, then what the command line says; each over the last.
//!
//! A setting `gateway.listen` is `CLARION_GATEWAY__LISTEN` in the environment.

use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The settings cannot be used. Says which key, what was found and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// Reads the settings over `defaults`. `known` are dotted keys with values from the environment under names that are not
/// Clarion's own; `overrides` such from the command line.
pub fn load<T>(
    defaults: &T,
    file: Option<&Path>,
    known: &[(&str, String)],
    overrides: &[(&str, String)],
) -> Result<T, ConfigError>
where
    T: Serialize + DeserializeOwned,
{
    let plain = plain_names(defaults);
    let mut figment = Figment::from(Serialized::defaults(defaults));
    if let Some(path) = file {
        if !path.is_file() {
            return Err(ConfigError(format!("there is no configuration file {}", path.display())));
        }
        figment = figment.merge(Toml::file_exact(path));
    }
    for (key, value) in known {
        // As what Clarion's own names have: a number or a truth value where it reads like one.
        let Ok(value) = value.parse::<figment::value::Value>();
        figment = figment.merge(Serialized::default(key, value));
    }
    // Names with a section, and those of settings without one: what else begins with CLARION_ is not a setting.
    let is_setting = move |key: &figment::value::UncasedStr| {
        key.as_str().contains("__") || plain.iter().any(|name| key == name.as_str())
    };
    figment = figment.merge(Env::prefixed("CLARION_").filter(is_setting).split("__"));
    for (key, value) in overrides {
        figment = figment.merge(Serialized::default(key, value));
    }
    figment.extract().map_err(|errors| ConfigError(describe(errors)))
}

/// The settings that lie in no section.
fn plain_names(defaults: &impl Serialize) -> Vec<String> {
    match serde_json::to_value(defaults) {
        Ok(serde_json::Value::Object(all)) => all.into_iter().filter(|(_, v)| !v.is_object()).map(|(k, _)| k).collect(),
        _ => Vec::new(),
    }
}

fn describe(errors: figment::Error) -> String {
    let lines: Vec<String> = errors
        .into_iter()
        .map(|e| {
            let source = e.metadata.as_ref().map(|m| format!(" ({})", m.name)).unwrap_or_default();
            let key = if e.path.is_empty() { String::new() } else { format!("{}: ", e.path.join(".")) };
            format!("{key}{}{source}", e.kind)
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Default, Serialize, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        gateway: Gateway,
    }

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Gateway {
        listen: String,
        shards: u32,
    }

    impl Default for Gateway {
        fn default() -> Self {
            Self { listen: "127.0.0.1:8080".into(), shards: 2 }
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = file("[gateway]\nlisten = \"a:1\"\nshards = 4\n");
        let got: Settings = load(
            &Settings::default(),
            Some(file.path()),
            &[("gateway.listen", "c:3".into())],
            &[("gateway.listen", "b:2".into())],
        )
        .expect("valid");
        assert_eq!(got.gateway, Gateway { listen: "b:2".into(), shards: 4 });
    }

    #[test]
    fn an_error_names_the_key_and_what_was_found() {
        let wrong = file("[gateway]\nshards = \"many\"\n");
        let error = load(&Settings::default(), Some(wrong.path()), &[], &[]).expect_err("not a number").to_string();
        assert!(error.contains("gateway.shards") && error.contains("many"), "{error}");
        let unknown = file("[gateway]\nshard = 1\n");
        let error = load(&Settings::default(), Some(unknown.path()), &[], &[]).expect_err("unknown").to_string();
        assert!(error.contains("shard"), "{error}");
    }
}
