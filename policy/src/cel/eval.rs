//! The evaluation: every step is counted, nothing recurses deeper than the tree and the facts.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use super::limits::{BYTES_PER_STEP, MATCHED_BYTES_MAX, STEPS_MAX};
use super::parse::{Expr, Fact, Function, Macro, Op};
use super::value::{Val, compare, same_scalar};
use super::{Facts, Failure, Truth};

pub(super) fn truth(expr: &Expr, facts: &Facts<'_>) -> Result<Truth, Failure> {
    let mut run = Run {
        facts,
        steps: STEPS_MAX,
        variables: Vec::new(),
    };
    match run.value(expr)? {
        Val::Bool(true) => Ok(Truth::True),
        Val::Bool(false) => Ok(Truth::False),
        Val::Open => Ok(Truth::Open),
        _ => Err(Failure::WrongType),
    }
}

struct Run<'a, 'f> {
    facts: &'f Facts<'a>,
    steps: u32,
    variables: Vec<Val<'a>>,
}

type Valued<'a> = Result<Val<'a>, Failure>;

impl<'a> Run<'a, '_> {
    fn step(&mut self, count: usize) -> Result<(), Failure> {
        let count = u32::try_from(count).map_err(|_| Failure::OutOfSteps)?;
        let left = self.steps.checked_sub(count);
        self.steps = left.unwrap_or(0);
        left.map(|_| ()).ok_or(Failure::OutOfSteps)
    }

    fn bytes(&mut self, text: &str) -> Result<(), Failure> {
        self.step(text.len() / BYTES_PER_STEP)
    }

    fn value(&mut self, expr: &Expr) -> Valued<'a> {
        self.step(1)?;
        Ok(match expr {
            Expr::Null => Val::Null,
            Expr::Bool(b) => Val::Bool(*b),
            Expr::Int(i) => Val::Int(*i),
            Expr::Uint(u) => Val::Uint(*u),
            Expr::Double(d) => Val::Double(*d),
            Expr::Text(text) => Val::Text(Cow::Owned(text.clone())),
            Expr::Fact(fact) => self.fact(*fact),
            Expr::Variable(n) => self.variables.get(*n).cloned().ok_or(Failure::Absent)?,
            Expr::Select(of, name) => self.select(of, name)?,
            Expr::Has(of, name) => match self.value(of)? {
                Val::Open => Val::Open,
                of => Val::Bool(of.member(name)?.is_some()),
            },
            Expr::Index(of, index) => self.index(of, index)?,
            Expr::Not(e) => match self.value(e)? {
                Val::Bool(b) => Val::Bool(!b),
                Val::Open => Val::Open,
                _ => return Err(Failure::WrongType),
            },
            Expr::Minus(e) => match self.value(e)? {
                Val::Int(i) => Val::Int(i.checked_neg().ok_or(Failure::Arithmetic)?),
                Val::Double(d) => Val::Double(-d),
                Val::Open => Val::Open,
                _ => return Err(Failure::WrongType),
            },
            Expr::And(a, b) => self.either(a, b, false)?,
            Expr::Or(a, b) => self.either(a, b, true)?,
            Expr::If(three) => {
                let [condition, yes, no] = three.as_ref();
                match self.value(condition)? {
                    Val::Bool(true) => self.value(yes)?,
                    Val::Bool(false) => self.value(no)?,
                    Val::Open => Val::Open,
                    _ => return Err(Failure::WrongType),
                }
            }
            Expr::Binary(op, a, b) => self.binary(*op, a, b)?,
            Expr::List(items) => self.list(items)?,
            Expr::Map(pairs) => self.map(pairs)?,
            Expr::Call(function, items) => self.call(*function, items)?,
            Expr::Matches(of, pattern) => match self.value(of)? {
                Val::Text(text) if text.len() <= MATCHED_BYTES_MAX => {
                    self.step(1 + text.len())?;
                    Val::Bool(pattern.is_match(&text))
                }
                Val::Text(_) => return Err(Failure::OutOfSteps),
                Val::Open => Val::Open,
                _ => return Err(Failure::WrongType),
            },
            Expr::Each(each, over, body) => self.each(*each, over, body)?,
        })
    }

    fn fact(&self, fact: Fact) -> Val<'a> {
        let json = match fact {
            Fact::Args => self.facts.args,
            Fact::Claims => self.facts.claims,
            Fact::Uri => self.facts.uri,
        };
        json.map_or(Val::Open, Val::of)
    }

    fn select(&mut self, of: &Expr, name: &str) -> Valued<'a> {
        match self.value(of)? {
            Val::Open => Ok(Val::Open),
            of => of.member(name)?.ok_or(Failure::Absent),
        }
    }

    fn index(&mut self, of: &Expr, index: &Expr) -> Valued<'a> {
        let of = self.value(of)?;
        match (of, self.value(index)?) {
            (Val::Open, _) | (_, Val::Open) => Ok(Val::Open),
            (of, Val::Text(name)) => of.member(&name)?.ok_or(Failure::Absent),
            (of, Val::Int(at)) => self.element(&of, i128::from(at)),
            (of, Val::Uint(at)) => self.element(&of, i128::from(at)),
            _ => Err(Failure::WrongType),
        }
    }

    fn element(&mut self, of: &Val<'a>, at: i128) -> Valued<'a> {
        let at = usize::try_from(at).map_err(|_| Failure::Absent)?;
        match of {
            Val::List(items) => items.get(at).cloned(),
            Val::Json(serde_json::Value::Array(items)) => items.get(at).map(Val::of),
            _ => return Err(Failure::WrongType),
        }
        .ok_or(Failure::Absent)
    }

    /// `&&` (decided by false) and `||` (decided by true): an operand that decides wins over the other's error, and
    /// an open one over an error too, since it may come to decide.
    fn either(&mut self, a: &Expr, b: &Expr, decides: bool) -> Valued<'a> {
        let a = self.value(a);
        if matches!(a, Ok(Val::Bool(v)) if v == decides) {
            return a;
        }
        let b = self.value(b);
        match (a, b) {
            (_, Ok(Val::Bool(v))) if v == decides => Ok(Val::Bool(decides)),
            (Err(Failure::OutOfSteps), _) | (_, Err(Failure::OutOfSteps)) => {
                Err(Failure::OutOfSteps)
            }
            (Ok(Val::Open), _) | (_, Ok(Val::Open)) => Ok(Val::Open),
            (Err(e), _) | (_, Err(e)) => Err(e),
            (Ok(Val::Bool(_)), Ok(Val::Bool(_))) => Ok(Val::Bool(!decides)),
            _ => Err(Failure::WrongType),
        }
    }

    fn list(&mut self, items: &[Expr]) -> Valued<'a> {
        let values: Result<Vec<_>, _> = items.iter().map(|e| self.value(e)).collect();
        let values = values?;
        if values.iter().any(|v| matches!(v, Val::Open)) {
            return Ok(Val::Open);
        }
        Ok(Val::List(Rc::new(values)))
    }

    fn map(&mut self, pairs: &[(Expr, Expr)]) -> Valued<'a> {
        let mut values = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let pair = (self.value(key)?, self.value(value)?);
            if matches!(pair, (Val::Open, _) | (_, Val::Open)) {
                return Ok(Val::Open);
            }
            values.push(pair);
        }
        Ok(Val::Map(Rc::new(values)))
    }

    fn binary(&mut self, op: Op, a: &Expr, b: &Expr) -> Valued<'a> {
        let (a, b) = (self.value(a)?, self.value(b)?);
        if matches!((&a, &b), (Val::Open, _) | (_, Val::Open)) {
            return Ok(Val::Open);
        }
        Ok(Val::Bool(match op {
            Op::Eq => self.equal(&a, &b)?,
            Op::Ne => !self.equal(&a, &b)?,
            Op::Lt => self.order(&a, &b)? == Ordering::Less,
            Op::Le => self.order(&a, &b)? != Ordering::Greater,
            Op::Gt => self.order(&a, &b)? == Ordering::Greater,
            Op::Ge => self.order(&a, &b)? != Ordering::Less,
            Op::In => {
                let mut found = false;
                if !matches!(b, Val::Text(_)) {
                    self.step(b.size()?)?;
                }
                for element in b.elements()? {
                    found = found || self.equal(&a, &element)?;
                }
                found
            }
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => return self.arithmetic(op, a, b),
        }))
    }

    fn order(&mut self, a: &Val<'_>, b: &Val<'_>) -> Result<Ordering, Failure> {
        if let Val::Text(text) = a {
            self.bytes(text)?;
        }
        compare(a, b)
    }

    fn equal(&mut self, a: &Val<'_>, b: &Val<'_>) -> Result<bool, Failure> {
        self.step(1)?;
        if let Val::Text(text) = a {
            self.bytes(text)?;
        }
        let is_map =
            |v: &Val<'_>| matches!(v, Val::Map(_) | Val::Json(serde_json::Value::Object(_)));
        let is_list =
            |v: &Val<'_>| matches!(v, Val::List(_) | Val::Json(serde_json::Value::Array(_)));
        if is_list(a) && is_list(b) || is_map(a) && is_map(b) {
            self.step(a.size()? + b.size()?)?;
        }
        if is_list(a) && is_list(b) {
            let (a, b) = (a.elements()?, b.elements()?);
            let mut same = a.len() == b.len();
            for (a, b) in a.iter().zip(&b) {
                same = same && self.equal(a, b)?;
            }
            return Ok(same);
        }
        if is_map(a) && is_map(b) {
            let mut same = a.size()? == b.size()?;
            for key in a.elements()? {
                let Val::Text(name) = &key else {
                    return Err(Failure::WrongType);
                };
                same = same
                    && match (a.member(name)?, b.member(name)?) {
                        (Some(a), Some(b)) => self.equal(&a, &b)?,
                        _ => false,
                    };
            }
            return Ok(same);
        }
        Ok(same_scalar(a, b))
    }

    fn arithmetic(&mut self, op: Op, a: Val<'a>, b: Val<'a>) -> Valued<'a> {
        match (op, a, b) {
            (Op::Add, Val::Text(a), Val::Text(b)) => {
                self.bytes(&a)?;
                self.bytes(&b)?;
                Ok(Val::Text(Cow::Owned(format!("{a}{b}"))))
            }
            (Op::Add, a @ (Val::List(_) | Val::Json(_)), b @ (Val::List(_) | Val::Json(_))) => {
                if a.member("").is_ok() || b.member("").is_ok() {
                    return Err(Failure::WrongType);
                }
                self.step(a.size()? + b.size()?)?;
                let mut items = a.elements()?;
                items.extend(b.elements()?);
                Ok(Val::List(Rc::new(items)))
            }
            (op, Val::Int(a), Val::Int(b)) => whole(op, a, b).map(Val::Int),
            (op, Val::Uint(a), Val::Uint(b)) => unsigned(op, a, b).map(Val::Uint),
            (op, Val::Double(a), Val::Double(b)) => match op {
                Op::Add => Ok(Val::Double(a + b)),
                Op::Sub => Ok(Val::Double(a - b)),
                Op::Mul => Ok(Val::Double(a * b)),
                Op::Div => Ok(Val::Double(a / b)),
                _ => Err(Failure::WrongType),
            },
            _ => Err(Failure::WrongType),
        }
    }

    fn call(&mut self, function: Function, items: &[Expr]) -> Valued<'a> {
        let values: Result<Vec<_>, _> = items.iter().map(|e| self.value(e)).collect();
        let values = values?;
        if values.iter().any(|v| matches!(v, Val::Open)) {
            return Ok(Val::Open);
        }
        for value in &values {
            if let Val::Text(text) = value {
                self.bytes(text)?;
            }
        }
        match (function, values.as_slice()) {
            (Function::Size, [of]) => {
                let size = i64::try_from(of.size()?);
                size.map(Val::Int).map_err(|_| Failure::Arithmetic)
            }
            (Function::Contains, [Val::Text(of), Val::Text(part)]) => {
                Ok(Val::Bool(of.contains(part.as_ref())))
            }
            (Function::StartsWith, [Val::Text(of), Val::Text(part)]) => {
                Ok(Val::Bool(of.starts_with(part.as_ref())))
            }
            (Function::EndsWith, [Val::Text(of), Val::Text(part)]) => {
                Ok(Val::Bool(of.ends_with(part.as_ref())))
            }
            (Function::Int, [of]) => match of {
                Val::Int(i) => Ok(Val::Int(*i)),
                Val::Uint(u) => i64::try_from(*u)
                    .map(Val::Int)
                    .map_err(|_| Failure::Arithmetic),
                Val::Text(text) => text.parse().map(Val::Int).map_err(|_| Failure::Arithmetic),
                _ => Err(Failure::WrongType),
            },
            (Function::String, [of]) => match of {
                Val::Text(text) => Ok(Val::Text(text.clone())),
                Val::Int(i) => Ok(Val::Text(Cow::Owned(i.to_string()))),
                Val::Uint(u) => Ok(Val::Text(Cow::Owned(u.to_string()))),
                Val::Bool(b) => Ok(Val::Text(Cow::Owned(b.to_string()))),
                _ => Err(Failure::WrongType),
            },
            _ => Err(Failure::WrongType),
        }
    }

    fn each(&mut self, each: Macro, over: &Expr, body: &Expr) -> Valued<'a> {
        let over = self.value(over)?;
        if matches!(over, Val::Open) {
            return Ok(Val::Open);
        }
        self.step(over.size()?)?;
        let mut fold = Fold::default();
        for element in over.elements()? {
            self.variables.push(element.clone());
            let value = self.value(body);
            self.variables.pop();
            fold.take(each, element, value)?;
        }
        fold.result(each)
    }
}

/// What a macro has seen so far.
#[derive(Default)]
struct Fold<'a> {
    yes: usize,
    no: usize,
    open: bool,
    failed: Option<Failure>,
    kept: Vec<Val<'a>>,
}

impl<'a> Fold<'a> {
    fn take(&mut self, each: Macro, element: Val<'a>, value: Valued<'a>) -> Result<(), Failure> {
        match (each, value) {
            (_, Err(Failure::OutOfSteps)) => return Err(Failure::OutOfSteps),
            (_, Ok(Val::Open)) => self.open = true,
            (Macro::Map, Ok(value)) => self.kept.push(value),
            (_, Ok(Val::Bool(true))) => {
                self.yes += 1;
                if each == Macro::Filter {
                    self.kept.push(element);
                }
            }
            (_, Ok(Val::Bool(false))) => self.no += 1,
            (_, Ok(_)) => self.failed = Some(Failure::WrongType),
            (_, Err(failure)) => self.failed = Some(failure),
        }
        Ok(())
    }

    fn result(self, each: Macro) -> Valued<'a> {
        match each {
            Macro::All if self.no > 0 => return Ok(Val::Bool(false)),
            Macro::Exists if self.yes > 0 => return Ok(Val::Bool(true)),
            _ => {}
        }
        if self.open {
            return Ok(Val::Open);
        }
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        Ok(match each {
            Macro::All => Val::Bool(true),
            Macro::Exists => Val::Bool(false),
            Macro::ExistsOne => Val::Bool(self.yes == 1),
            Macro::Filter | Macro::Map => Val::List(Rc::new(self.kept)),
        })
    }
}

fn whole(op: Op, a: i64, b: i64) -> Result<i64, Failure> {
    match op {
        Op::Add => a.checked_add(b),
        Op::Sub => a.checked_sub(b),
        Op::Mul => a.checked_mul(b),
        Op::Div => a.checked_div(b),
        Op::Rem => a.checked_rem(b),
        _ => None,
    }
    .ok_or(Failure::Arithmetic)
}

fn unsigned(op: Op, a: u64, b: u64) -> Result<u64, Failure> {
    match op {
        Op::Add => a.checked_add(b),
        Op::Sub => a.checked_sub(b),
        Op::Mul => a.checked_mul(b),
        Op::Div => a.checked_div(b),
        Op::Rem => a.checked_rem(b),
        _ => None,
    }
    .ok_or(Failure::Arithmetic)
}
