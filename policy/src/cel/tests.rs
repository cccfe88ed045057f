use super::*;
use proptest::prelude::*;
use serde_json::json;

fn facts() -> (Value, Value, Value) {
    let args = json!({
        "department": "icu", "count": 3, "big": 18_446_744_073_709_551_615_u64, "ratio": 0.5,
        "tags": ["a", "b"], "people": [{"n": 1}, {"n": 2}, {"n": 2}], "nothing": null, "a-b": 1,
    });
    let claims = json!({"department": "icu", "units": ["icu", "er"], "admin": false});
    (args, claims, json!({"id": "p-1"}))
}

fn run(text: &str) -> Result<Truth, Failure> {
    let (args, claims, uri) = facts();
    let facts = Facts {
        args: Some(&args),
        claims: Some(&claims),
        uri: Some(&uri),
    };
    Condition::compile(text).unwrap().evaluate(&facts)
}

fn open(text: &str) -> Result<Truth, Failure> {
    let (_, claims, _) = facts();
    let facts = Facts {
        args: None,
        claims: Some(&claims),
        uri: None,
    };
    Condition::compile(text).unwrap().evaluate(&facts)
}

#[test]
fn conditions_mean_what_cel_says() {
    for text in [
        "claims.department == args.department",
        "args.department in claims.units",
        "'department' in args && !('x' in args)",
        "args.count + 2 * 3 == 9 && (args.count + 2) * 3 == 15",
        "args.count > 2 && args.count <= 3 && args.count != 4 && args.count >= 3 && args.count < 4",
        "7 / 2 == 3 && 7 % 2 == 1 && -7 / 2 == -3 && -7 % 2 == -1",
        "args.big == 18446744073709551615u && args.big > args.count",
        "args.ratio == 0.5 && 1 == 1.0 && 2u > 1",
        "args.nothing == null && args.tags == ['a', 'b'] && args.tags != ['b', 'a']",
        "{'n': 1} == args.people[0] && args.people[1]['n'] == 2",
        "args['a-b'] == 1",
        "has(args.count) && !has(args.missing)",
        "args.people.all(p, p.n > 0) && args.people.exists(p, p.n == 1)",
        "args.people.exists_one(p, p.n == 1) && !args.people.exists_one(p, p.n == 2)",
        "size(args.people.filter(p, p.n == 2)) == 2 && args.people.map(p, p.n) == [1, 2, 2]",
        "size('äb') == 2 && args.tags.size() == 2",
        "'abc'.contains('b') && 'abc'.startsWith('ab') && 'abc'.endsWith('bc')",
        "uri.id.matches('^p-[0-9]+$') && !uri.id.matches('^x')",
        "int('42') == 42 && string(args.count) == '3'",
        "true ? args.count == 3 : args.missing",
        "args.missing == 1 || true",
        "!(args.missing == 1 && false)",
        "'a' + \"b\" == 'ab' && [1] + [2] == [1, 2]",
        "'\\u00e4\\n' == \"ä\\n\" // and a comment",
        "1 == 1 == true",
        "false && false || true",
    ] {
        assert_eq!(run(text), Ok(Truth::True), "{text}");
    }
    assert_eq!(run("claims.admin"), Ok(Truth::False));
    assert_eq!(run("1 == '1'"), Ok(Truth::False));
}

#[test]
fn what_fails_denies() {
    for (text, failure) in [
        ("args.missing == 1", Failure::Absent),
        ("args.missing.deeper", Failure::Absent),
        ("args.tags[7] == 'a'", Failure::Absent),
        ("args.tags[-1] == 'a'", Failure::Absent),
        ("args.count", Failure::WrongType),
        ("args.department.x == 1", Failure::WrongType),
        ("'a' < 1", Failure::WrongType),
        ("!args.count", Failure::WrongType),
        ("args.count && true", Failure::WrongType),
        ("1 / 0 == 1", Failure::Arithmetic),
        ("9223372036854775807 + 1 > 0", Failure::Arithmetic),
        ("int('x') == 1", Failure::Arithmetic),
        ("args.people.all(p, p.x > 0)", Failure::Absent),
    ] {
        assert_eq!(run(text), Err(failure), "{text}");
    }
}

#[test]
fn open_facts_leave_a_condition_open_unless_the_rest_decides() {
    for (text, truth) in [
        ("claims.department == args.department", Truth::Open),
        ("claims.admin && args.count == 1", Truth::False),
        ("args.count == 1 && claims.admin", Truth::False),
        ("!claims.admin || args.count == 1", Truth::True),
        ("args.count == 1 || claims.missing", Truth::Open),
        ("args.people.all(p, p.n == 1)", Truth::Open),
        ("claims.units.exists(u, u == args.department)", Truth::Open),
        ("has(args.x) ? true : false", Truth::Open),
        ("claims.department == 'icu'", Truth::True),
        ("claims.department == 'er'", Truth::False),
    ] {
        assert_eq!(open(text), Ok(truth), "{text}");
    }
}

#[test]
fn what_is_no_condition_does_not_compile_and_says_where() {
    for (text, at, message) in [
        ("", 0, "ends where a value is missing"),
        ("args.x ==", 7, "ends where a value is missing"),
        ("args.x = 1", 7, "`=` alone"),
        ("result.x == 1", 0, "`result` is not known"),
        ("foo(1)", 0, "foo() is not known"),
        ("args.x.bar()", 7, "bar() is not known"),
        ("args.x.matches(args.y)", 7, "literal pattern"),
        ("args.x.matches('(')", 7, "invalid or too large"),
        ("'a", 2, "not closed"),
        ("99999999999999999999", 0, "out of range"),
        ("args.all(args, true)", 5, "hides another name"),
        ("has(args)", 0, "takes a selection"),
        ("1 2", 2, "complete before this"),
        ("args.x ; 1", 7, "has no meaning"),
    ] {
        let error = Condition::compile(text).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
        assert_eq!(error.at, at, "{text}: {error}");
    }
}

#[test]
fn conditions_are_bounded() {
    for text in [
        "(".repeat(200) + "1" + &")".repeat(200),
        "!".repeat(200) + "true",
        "-".repeat(200) + "1 == 1",
        vec!["true"; 2000].join("&&"),
        "[".repeat(500),
        "args".to_owned() + &".x".repeat(500),
        "args.a.all(x, x.all(y, y.all(z, z)))".to_owned(),
        "true".to_owned() + &" ".repeat(limits::SOURCE_BYTES_MAX),
        "args.x.matches('((((a{9}){9}){9}){9}){9}')".to_owned(),
    ] {
        assert!(Condition::compile(&text).is_err(), "{} bytes", text.len());
    }
    let many: Value = (0..1000).collect();
    let args = json!({ "many": many, "text": "x".repeat(1_000_000) });
    let facts = Facts {
        args: Some(&args),
        claims: Some(&args),
        uri: None,
    };
    for text in [
        "args.many.all(a, args.many.all(b, a >= 0 && b >= 0))",
        "args.many.map(a, args.many.map(b, args.many)) == []",
        "args.many.all(a, args.text == claims.text)",
        "args.text.matches('a*')",
        "args.many.map(a, args.text + args.text) == []",
    ] {
        let outcome = Condition::compile(text).unwrap().evaluate(&facts);
        assert_eq!(outcome, Err(Failure::OutOfSteps), "{text}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_compiles_or_says_why(text in "\\PC{0,60}") {
        let _ = Condition::compile(&text);
    }

    #[test]
    fn any_condition_on_any_facts_never_panics_and_open_is_honest(
        words in prop::collection::vec(prop::sample::select(vec![
            "args", "claims", ".a", ".b", ".c", "[0]", "['a']", "==", "!=", "<", "+", "-", "*", "/", "%", "&&", "||",
            "!", "(", ")", "1", "2u", "0.5", "'a'", "true", "null", " in ", "?", ":", "[", "]", ",",
            ".all(x, x == 1)", ".exists(y, y)", ".size()", "has(args.a)", ".filter(z, z != null)", ".map(w, w)",
        ]), 1..9),
        args in json_value(), claims in json_value(),
    ) {
        let Ok(condition) = Condition::compile(&words.concat()) else { return Ok(()) };
        let closed = condition.evaluate(&Facts { args: Some(&args), claims: Some(&claims), uri: None });
        let open = condition.evaluate(&Facts { args: None, claims: Some(&claims), uri: None });
        if closed == Ok(Truth::True) {
            prop_assert!(matches!(open, Ok(Truth::True | Truth::Open)), "{words:?} {open:?}");
        }
    }
}
