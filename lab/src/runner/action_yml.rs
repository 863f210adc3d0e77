//! What `action.yml` declares.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_yaml::Value;

#[derive(Deserialize)]
struct ActionYml {
    #[serde(default)]
    inputs: BTreeMap<String, Option<Input>>,
}

#[derive(Deserialize)]
struct Runs {
    runs: Image,
}

/// `runs` of an action whose image lies in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// As docker pulls it, without `docker://`.
    #[serde(rename = "image")]
    pub name: String,
    pub entrypoint: String,
    pub post_entrypoint: String,
}

/// The image that an `action.yml` names, as the runner pulls it before the job's first step (`ActionManager.cs`).
///
/// # Errors
/// When the file cannot be read, or its image is not one of a registry.
pub fn image_of_action_yml(path: impl AsRef<Path>) -> anyhow::Result<Image> {
    let path = path.as_ref();
    let yaml = std::fs::read_to_string(path).with_context(|| format!("reading the image of {}", path.display()))?;
    let Runs { runs } = serde_yaml::from_str(&yaml)
        .with_context(|| format!("{} is not the YAML of a container action", path.display()))?;
    let name = runs.name.strip_prefix("docker://").map(str::to_owned);
    let name = name.with_context(|| format!("{}: `{}` is no image of a registry", path.display(), runs.name))?;
    Ok(Image { name, ..runs })
}

#[derive(Deserialize)]
struct Input {
    default: Option<Value>,
}

/// The names and defaults of the inputs that an `action.yml` declares; no default is an empty one.
///
/// # Errors
/// When the file cannot be read, is not the YAML of an action, or has a default that is not a scalar.
pub fn declared_from_action_yml(path: impl AsRef<Path>) -> anyhow::Result<Vec<(String, String)>> {
    let path = path.as_ref();
    let yaml = std::fs::read_to_string(path).with_context(|| format!("reading the inputs of {}", path.display()))?;
    let action: ActionYml =
        serde_yaml::from_str(&yaml).with_context(|| format!("{} is not the YAML of an action", path.display()))?;
    action
        .inputs
        .into_iter()
        .map(|(name, input)| {
            let default = input.and_then(|input| input.default).unwrap_or(Value::Null);
            let default =
                scalar(&default).with_context(|| format!("default of input `{name}` in {}", path.display()))?;
            Ok((name, default))
        })
        .collect()
}

/// A YAML scalar as the runner passes it: every input is a string.
fn scalar(value: &Value) -> anyhow::Result<String> {
    Ok(match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => value.clone(),
        _ => bail!("lists and maps are not allowed, write a string"),
    })
}
