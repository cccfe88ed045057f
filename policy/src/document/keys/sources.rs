//! The keys of `key_sources`: where wrapped keys are unwrapped and named secrets are fetched.

use super::{DEADLINE, Key, Shape, key};

/// Where a pod's service account token is.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(crate) static KEY_SOURCES: &[Key] = &[
    key(
        "infisical",
        Shape::Map(INFISICAL),
        "Infisical, for sources `infisical:SECRET_NAME`",
    ),
    key(
        "transit",
        Shape::Map(TRANSIT),
        "the transit engine of OpenBao or Vault, for sources `transit:vault:v1:…`: the key that wraps never leaves it",
    ),
    key(
        "aws_kms",
        Shape::Map(AWS_KMS),
        "AWS KMS, for sources `aws-kms:BASE64`; credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), else AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
    ),
    key(
        "pkcs11",
        Shape::Map(PKCS11),
        "a hardware security module, for sources `pkcs11:BASE64`",
    ),
    key(
        "timeout_seconds",
        DEADLINE,
        "for all keys of a configuration together, retries included",
    )
    .default("30"),
];

pub(crate) static INFISICAL: &[Key] = &[
    key("url", Shape::Text, "the server's base URL, https").default("https://app.infisical.com"),
    key("project", Shape::Text, "the project's id").required(),
    key("environment", Shape::Text, "the environment's slug").required(),
    key("path", Shape::Text, "the folder of the secrets").default("/"),
    key(
        "ca_file",
        Shape::Text,
        "PEM of the authorities for the server's certificate; default the system's",
    ),
    key(
        "universal_auth",
        Shape::Map(UNIVERSAL_AUTH),
        "a machine identity by client id and secret",
    ),
    key(
        "kubernetes_auth",
        Shape::Map(KUBERNETES_AUTH),
        "a machine identity by the pod's service account",
    ),
];

pub(crate) static UNIVERSAL_AUTH: &[Key] = &[
    key("client_id", Shape::Text, "the identity's client id").required(),
    key(
        "client_secret",
        Shape::Secret,
        "the identity's client secret",
    )
    .required(),
];

pub(crate) static KUBERNETES_AUTH: &[Key] = &[
    key("identity_id", Shape::Text, "the machine identity's id").required(),
    key(
        "token_file",
        Shape::Text,
        "the service account token, read at each login",
    )
    .default(SERVICE_ACCOUNT_TOKEN),
];

pub(crate) static TRANSIT: &[Key] = &[
    key("url", Shape::Text, "the server's base URL, https").required(),
    key("mount", Shape::Text, "where the engine is mounted").default("transit"),
    key("key", Shape::Text, "the name of the key that wraps").required(),
    key("namespace", Shape::Text, "the namespace; default none"),
    key(
        "ca_file",
        Shape::Text,
        "PEM of the authorities for the server's certificate; default the system's",
    ),
    key("token", Shape::Secret, "a token that was issued elsewhere"),
    key(
        "kubernetes",
        Shape::Map(TRANSIT_KUBERNETES),
        "login by the pod's service account",
    ),
    key("approle", Shape::Map(TRANSIT_APPROLE), "login by AppRole"),
];

pub(crate) static TRANSIT_KUBERNETES: &[Key] = &[
    key("role", Shape::Text, "the role to log in as").required(),
    key("mount", Shape::Text, "where the method is mounted").default("kubernetes"),
    key(
        "token_file",
        Shape::Text,
        "the service account token, read at each login",
    )
    .default(SERVICE_ACCOUNT_TOKEN),
];

pub(crate) static TRANSIT_APPROLE: &[Key] = &[
    key("role_id", Shape::Text, "the role's id").required(),
    key("secret_id", Shape::Secret, "the role's secret id").required(),
    key("mount", Shape::Text, "where the method is mounted").default("approle"),
];

pub(crate) static AWS_KMS: &[Key] = &[
    key("region", Shape::Text, "the region; default AWS_REGION"),
    key(
        "key_id",
        Shape::Text,
        "id, ARN or alias of the key that wraps: answers under another one are refused; `keys generate --wrap` needs it",
    ),
    key(
        "endpoint",
        Shape::Text,
        "of KMS, https; default the region's own",
    ),
    key(
        "sts_endpoint",
        Shape::Text,
        "of STS, https, for a web identity; default the region's own",
    ),
    key(
        "ca_file",
        Shape::Text,
        "PEM of the authorities for their certificates; default the system's",
    ),
];

pub(crate) static PKCS11: &[Key] = &[
    key(
        "module",
        Shape::Text,
        "the vendor's library, an absolute path",
    )
    .required(),
    key("token", Shape::Text, "the token's label").required(),
    key("pin", Shape::Secret, "the user's PIN").required(),
    key(
        "key",
        Shape::Text,
        "the label of the AES key that wraps (CKA_ENCRYPT, CKA_DECRYPT)",
    )
    .required(),
];
