//! The keys of a file of cases for `safeguard test`.

use super::{Key, Shape, TEXTS, key, yes};

/// A file of cases.
pub(crate) static CASES: &[Key] = &[key(
    "cases",
    Shape::List(&Shape::Map(CASE)),
    "who calls what, and what is expected of it",
)
.required()];

pub(crate) static CASE: &[Key] = &[
    key("name", Shape::Text, "what it shows, as a sentence").required(),
    key("as", Shape::Map(WHO), "who calls").required(),
    key(
        "client",
        Shape::Text,
        "the software, by its name in `clients`; default the only one",
    ),
    key("call", Shape::Map(CALL), "what is called").required(),
    key(
        "answer",
        Shape::Map(ANSWER),
        "what the MCP server answers, in clear; records get their hash where they have none",
    ),
    key("expect", Shape::Map(EXPECT), "what is to come of it").required(),
];

pub(crate) static WHO: &[Key] = &[
    key("subject", Shape::Text, "the token's `sub`").default("somebody"),
    key("roles", TEXTS, "the token's roles").required(),
    key(
        "purpose",
        Shape::Text,
        "the token's `purpose_of_use`; default none",
    ),
    key("claims", Shape::Anything, "the token's other claims"),
    key(
        "second_factor",
        Shape::Bool,
        "whether the token proves a second factor",
    )
    .default("true"),
    key(
        "service",
        Shape::Bool,
        "whether it is software without a person, whose token is bound to its certificate",
    )
    .default("false"),
    key(
        "login_age",
        Shape::Integer(0, 86_400),
        "seconds since the login",
    )
    .default("10"),
    key("acr", Shape::Text, "the token's `acr`; default none"),
    key(
        "emergency",
        Shape::Text,
        "the patient of an emergency that it began and that goes on; default none",
    ),
];

pub(crate) static CALL: &[Key] = &[
    key("tool", Shape::Text, "a tool's name"),
    key("resource", Shape::Text, "a resource's URI"),
    key("prompt", Shape::Text, "a prompt's name"),
    key(
        "arguments",
        Shape::Anything,
        "the arguments of a tool or prompt",
    ),
];

pub(crate) static ANSWER: &[Key] = &[
    key(
        "structured",
        Shape::Anything,
        "structuredContent, with its copy as text",
    ),
    key("text", Shape::Text, "one block of text"),
    key("result", Shape::Anything, "the whole result, as it stands"),
];

pub(crate) static EXPECT: &[Key] = &[
    key(
        "decision",
        Shape::Word(&[yes("permit"), yes("deny"), yes("step_up")]),
        "what the policy decides; step_up: a fresher or stronger login would help",
    )
    .default("permit"),
    key(
        "reason",
        Shape::Text,
        "why it is denied, as in role_not_allowed",
    ),
    key(
        "rule",
        Shape::Text,
        "the rule that decides, as in tools.read_record",
    ),
    key("listed", Shape::Bool, "whether the caller's list has it"),
    key(
        "server",
        Shape::Anything,
        "the arguments as the MCP server gets them",
    ),
    key(
        "client",
        Shape::Anything,
        "the structured content (a resource's or text's JSON) as the caller gets it",
    ),
    key("text", Shape::Text, "the first text as the caller gets it"),
    key(
        "code",
        Shape::Integer(-33_000, -32_000),
        "the JSON-RPC error in place of an answer, as in -32051",
    ),
];
