//! JSON Schema as tools and elicitations carry it: titles, descriptions, enumerations, defaults and examples may hold
//! whatever the server put there, patient-specific tool lists among it.

use super::walk::{Role, Table};
use super::words;

/// A schema of any draft from 7 to 2020-12. Its places are about the property it describes.
pub(super) const SCHEMA: Table = Table::of(|name| match name {
    "title" | "description" | "$comment" | "pattern" => Role::Text,
    "default" | "const" | "enum" | "enumNames" | "examples" | "example" => Role::Json,
    "type" => Role::Words(words::TYPES),
    "format" | "contentEncoding" => Role::Word(words::FORMATS),
    "contentMediaType" => Role::MediaType,
    "$schema" | "$id" | "$ref" | "$dynamicRef" | "$anchor" | "$dynamicAnchor" => Role::Uri,
    "required" => Role::Names,
    "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
        Role::Schemas
    }
    "items"
    | "prefixItems"
    | "allOf"
    | "anyOf"
    | "oneOf"
    | "not"
    | "if"
    | "then"
    | "else"
    | "contains"
    | "propertyNames"
    | "contentSchema"
    | "unevaluatedItems"
    | "unevaluatedProperties"
    | "additionalItems"
    | "additionalProperties" => Role::Items(SCHEMA),
    "minLength" | "maxLength" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum"
    | "multipleOf" | "minItems" | "maxItems" | "minContains" | "maxContains" | "minProperties"
    | "maxProperties" => Role::Number,
    "uniqueItems" | "readOnly" | "writeOnly" | "deprecated" | "nullable" => Role::Flag,
    _ => Role::Unknown,
});
