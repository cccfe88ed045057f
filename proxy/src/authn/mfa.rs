//! The proof of a second factor, from `amr` (RFC 8176) or, for logins of people, from a mapped `acr`.

use super::settings::SecondFactorSettings;

const TOTP: [&str; 2] = ["otp", "totp"];
const WEBAUTHN: [&str; 3] = ["hwk", "swk", "webauthn"];

/// Which methods prove a second factor; `None` if nothing does.
///
/// `person` is whether the token is from a login (`sid` or `auth_time`): providers give service accounts
/// an `acr` that means nothing.
pub(super) fn proof(
    settings: &SecondFactorSettings,
    amr: &[String],
    acr: Option<&str>,
    person: bool,
) -> Option<Vec<String>> {
    let proves = |method: &&String| {
        (settings.totp && TOTP.contains(&method.as_str()))
            || (settings.webauthn && WEBAUTHN.contains(&method.as_str()))
    };
    let mut methods: Vec<String> = amr.iter().filter(proves).cloned().collect();
    if let Some(acr) = acr
        && person
        && settings.acr_values.iter().any(|value| value == acr)
    {
        methods.push(format!("acr={acr}"));
    }
    (!methods.is_empty()).then_some(methods)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(totp: bool, webauthn: bool, acr: &[&str]) -> SecondFactorSettings {
        SecondFactorSettings {
            required: true,
            totp,
            webauthn,
            acr_values: acr.iter().map(|v| (*v).to_owned()).collect(),
        }
    }

    fn proved(s: &SecondFactorSettings, amr: &[&str], acr: Option<&str>, person: bool) -> bool {
        let amr: Vec<String> = amr.iter().map(|v| (*v).to_owned()).collect();
        proof(s, &amr, acr, person).is_some()
    }

    #[test]
    fn only_configured_providers_prove() {
        let totp = settings(true, false, &[]);
        assert!(proved(&totp, &["pwd", "otp"], None, true));
        assert!(proved(&totp, &["totp"], None, true));
        for no in [
            "pwd", "hwk", "swk", "webauthn", "mfa", "OTP", "otp ", "sms", "",
        ] {
            assert!(!proved(&totp, &[no], None, true), "{no}");
        }
        let webauthn = settings(false, true, &[]);
        for yes in ["hwk", "swk", "webauthn"] {
            assert!(proved(&webauthn, &[yes], None, true), "{yes}");
        }
        assert!(!proved(&webauthn, &["pwd", "otp"], None, true));
    }

    #[test]
    fn acr_counts_only_as_mapped_and_only_for_people() {
        let mapped = settings(true, true, &["mfa"]);
        assert!(proved(&mapped, &["pwd"], Some("mfa"), true));
        assert!(!proved(&mapped, &["pwd"], Some("pwd"), true));
        assert!(!proved(&mapped, &[], Some("mfa"), false));
        assert!(!proved(
            &settings(true, true, &[]),
            &["pwd"],
            Some("mfa"),
            true
        ));
    }
}
