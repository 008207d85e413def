//! The custom resources, from their schemas.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};

use super::{code, row};

pub(super) fn section(definition: &CustomResourceDefinition) -> String {
    let names = &definition.spec.names;
    let short = names.short_names.as_deref().unwrap_or_default();
    let mut section = format!(
        "\n### {}\n\n{}, `kubectl get {}`",
        names.kind, definition.spec.scope, names.plural
    );
    for name in short {
        let _ = write!(section, " or `{name}`");
    }
    section.push('.');
    let version = definition.spec.versions.first();
    let schema = version.and_then(|version| version.schema.as_ref());
    let Some(schema) = schema.and_then(|schema| schema.open_api_v3_schema.as_ref()) else {
        return section;
    };
    let _ = writeln!(
        section,
        " {}",
        schema.description.as_deref().unwrap_or_default()
    );
    for part in ["spec", "status"] {
        let Some(fields) = schema.properties.as_ref().and_then(|all| all.get(part)) else {
            continue;
        };
        section.push_str("\n| field | type | meaning |\n| --- | --- | --- |\n");
        rows(part, fields, &mut section);
    }
    section
}

/// A row for each field below this one.
fn rows(path: &str, schema: &JSONSchemaProps, table: &mut String) {
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        let (kind, inner) = kind(field);
        let inner_path = match &field.items {
            Some(_) => format!("{path}[]"),
            None => path.clone(),
        };
        let kind = match required.contains(name) {
            true => format!("{kind}, required"),
            false => kind,
        };
        table.push_str(&row(&[&code(&path), &kind, &meaning(field, inner)]));
        rows(&inner_path, inner, table);
    }
}

/// What a field holds, and the schema of that.
fn kind(field: &JSONSchemaProps) -> (String, &JSONSchemaProps) {
    let name = |schema: &JSONSchemaProps| {
        let kind = schema.type_.clone().unwrap_or_else(|| "any".to_owned());
        match &schema.format {
            Some(format) if format == "date-time" => "time".to_owned(),
            _ => kind,
        }
    };
    match &field.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => (format!("list of {}s", name(items)), items),
        _ => (name(field), field),
    }
}

fn meaning(field: &JSONSchemaProps, inner: &JSONSchemaProps) -> String {
    let mut meaning = field.description.clone().unwrap_or_default();
    let mut add = |text: String| {
        let _ = write!(meaning, " {text}.");
    };
    if let Some(values) = &inner.enum_ {
        let values: Vec<String> = values
            .iter()
            .filter_map(|value| value.0.as_str())
            .map(code)
            .collect();
        add(format!("One of {}", values.join(", ")));
    }
    if let Some(default) = &field.default {
        add(format!("Default: `{}`", default.0));
    }
    match (inner.minimum, inner.maximum) {
        (Some(least), Some(most)) => add(format!("{least} to {most}")),
        (Some(least), None) => add(format!("At least {least}")),
        (None, Some(most)) => add(format!("At most {most}")),
        (None, None) => {}
    }
    if let Some(most) = inner.max_length {
        let each = if field.items.is_some() {
            "Each at"
        } else {
            "At"
        };
        add(format!("{each} most {most} characters"));
    }
    if let Some(most) = field.max_items {
        add(format!("At most {most} of them"));
    }
    for rule in inner.x_kubernetes_validations.iter().flatten() {
        if let Some(message) = &rule.message {
            add(format!("Refused: {message}"));
        }
    }
    meaning
}
