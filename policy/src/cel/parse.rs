//! Tokens to a syntax tree whose names are resolved.

use regex_lite::{Regex, RegexBuilder};

use super::CompileError;
use super::lex::{Placed, Token};
use super::limits::{DEPTH_MAX, NESTED_MACROS_MAX, NODES_MAX, PATTERN_BYTES_MAX};

/// The roots that a condition may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    Args,
    Claims,
    Uri,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Debug)]
pub(super) enum Expr {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Fact(Fact),
    /// A macro's variable, counted from the outermost.
    Variable(usize),
    Select(Box<Expr>, String),
    Has(Box<Expr>, String),
    Index(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    If(Box<[Expr; 3]>),
    Binary(Op, Box<Expr>, Box<Expr>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Call(Function, Vec<Expr>),
    Matches(Box<Expr>, Regex),
    Each(Macro, Box<Expr>, Box<Expr>),
}

impl Expr {
    /// Whether the tree reads a root.
    pub(super) fn reads(&self, root: &str) -> bool {
        match self {
            Self::Fact(fact) => fact_of(root) == Some(*fact),
            Self::Select(e, _)
            | Self::Has(e, _)
            | Self::Not(e)
            | Self::Minus(e)
            | Self::Matches(e, _) => e.reads(root),
            Self::Index(a, b)
            | Self::And(a, b)
            | Self::Or(a, b)
            | Self::Binary(_, a, b)
            | Self::Each(_, a, b) => a.reads(root) || b.reads(root),
            Self::If(three) => three.iter().any(|e| e.reads(root)),
            Self::List(items) | Self::Call(_, items) => items.iter().any(|e| e.reads(root)),
            Self::Map(pairs) => pairs.iter().any(|(k, v)| k.reads(root) || v.reads(root)),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Uint(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Variable(_) => false,
        }
    }
}

fn fact_of(name: &str) -> Option<Fact> {
    match name {
        "args" => Some(Fact::Args),
        "claims" => Some(Fact::Claims),
        "uri" => Some(Fact::Uri),
        _ => None,
    }
}

pub(super) fn parse(tokens: &[Placed]) -> Result<Expr, CompileError> {
    let mut parser = Parser {
        tokens,
        at: 0,
        nodes: 0,
        variables: Vec::new(),
    };
    let expr = parser.expression(0)?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => parser.fail("the condition is complete before this"),
    }
}

struct Parser<'t> {
    tokens: &'t [Placed],
    at: usize,
    nodes: usize,
    variables: Vec<String>,
}

type Parsed = Result<Expr, CompileError>;

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, t)| t)
    }

    fn place(&self) -> usize {
        let here = self.tokens.get(self.at).or(self.tokens.last());
        here.map_or(0, |(at, _)| *at)
    }

    fn fail<T>(&self, message: &str) -> Result<T, CompileError> {
        self.fail_at(self.place(), message)
    }

    #[expect(clippy::unused_self, reason = "reads like fail, which needs the place")]
    fn fail_at<T>(&self, at: usize, message: &str) -> Result<T, CompileError> {
        Err(CompileError {
            at,
            message: message.to_owned(),
        })
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, sign: &str) -> Result<(), CompileError> {
        if self.eat(sign) {
            return Ok(());
        }
        self.fail(&format!("`{sign}` is missing here"))
    }

    /// Counts a node and holds the bounds.
    fn node(&mut self, depth: usize) -> Result<(), CompileError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            return self.fail("the condition is too large or nested too deeply");
        }
        Ok(())
    }

    fn expression(&mut self, depth: usize) -> Parsed {
        self.node(depth)?;
        let condition = self.binary(0, depth + 1)?;
        if !self.eat("?") {
            return Ok(condition);
        }
        let yes = self.binary(0, depth + 1)?;
        self.need(":")?;
        let no = self.expression(depth + 1)?;
        Ok(Expr::If(Box::new([condition, yes, no])))
    }

    /// Binary operators from level `level` upwards, all left-associative.
    fn binary(&mut self, level: usize, depth: usize) -> Parsed {
        const LEVELS: [&[&str]; 5] = [
            &["||"],
            &["&&"],
            &["==", "!=", "<=", ">=", "<", ">"],
            &["+", "-"],
            &["*", "/", "%"],
        ];
        let Some(signs) = LEVELS.get(level) else {
            return self.unary(depth);
        };
        let mut left = self.binary(level + 1, depth)?;
        let mut chained = depth;
        loop {
            let sign = match self.peek() {
                Some(Token::Sign(s)) if signs.contains(s) => *s,
                Some(Token::Name(n)) if level == 2 && n == "in" => "in",
                _ => return Ok(left),
            };
            self.at += 1;
            chained += 1;
            self.node(chained)?;
            let right = self.binary(level + 1, chained)?;
            let (a, b) = (Box::new(left), Box::new(right));
            left = match sign {
                "||" => Expr::Or(a, b),
                "&&" => Expr::And(a, b),
                "==" => Expr::Binary(Op::Eq, a, b),
                "!=" => Expr::Binary(Op::Ne, a, b),
                "<=" => Expr::Binary(Op::Le, a, b),
                ">=" => Expr::Binary(Op::Ge, a, b),
                "<" => Expr::Binary(Op::Lt, a, b),
                ">" => Expr::Binary(Op::Gt, a, b),
                "+" => Expr::Binary(Op::Add, a, b),
                "-" => Expr::Binary(Op::Sub, a, b),
                "*" => Expr::Binary(Op::Mul, a, b),
                "/" => Expr::Binary(Op::Div, a, b),
                "%" => Expr::Binary(Op::Rem, a, b),
                _ => Expr::Binary(Op::In, a, b),
            };
        }
    }

    fn unary(&mut self, depth: usize) -> Parsed {
        self.node(depth)?;
        if self.eat("!") {
            return Ok(Expr::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.eat("-") {
            return Ok(match self.unary(depth + 1)? {
                Expr::Int(i) => Expr::Int(-i),
                other => Expr::Minus(Box::new(other)),
            });
        }
        self.member(depth)
    }

    fn member(&mut self, depth: usize) -> Parsed {
        let mut expr = self.primary(depth)?;
        let mut chained = depth;
        loop {
            chained += 1;
            if self.eat(".") {
                self.node(chained)?;
                let place = self.place();
                let name = self.name("a member's name is missing after the dot")?;
                expr = match self.eat("(") {
                    true => self.method(expr, &name, place, chained)?,
                    false => Expr::Select(Box::new(expr), name),
                };
            } else if self.eat("[") {
                self.node(chained)?;
                let index = self.expression(chained)?;
                self.need("]")?;
                expr = Expr::Index(Box::new(expr), Box::new(index));
            } else {
                return Ok(expr);
            }
        }
    }

    fn name(&mut self, message: &str) -> Result<String, CompileError> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => self.fail(message),
        }
    }

    fn primary(&mut self, depth: usize) -> Parsed {
        let place = self.place();
        let Some(token) = self.peek().cloned() else {
            return self.fail("the condition ends where a value is missing");
        };
        self.at += 1;
        Ok(match token {
            Token::Int(i) => Expr::Int(i),
            Token::Uint(u) => Expr::Uint(u),
            Token::Double(d) => Expr::Double(d),
            Token::Text(text) => Expr::Text(text),
            Token::Sign("(") => {
                let inner = self.expression(depth + 1)?;
                self.need(")")?;
                inner
            }
            Token::Sign("[") => Expr::List(self.items("]", depth + 1)?),
            Token::Sign("{") => Expr::Map(self.pairs(depth + 1)?),
            Token::Sign(_) => return self.fail_at(place, "a value is missing here"),
            Token::Name(name) => return self.named(&name, place, depth),
        })
    }

    fn named(&mut self, name: &str, place: usize, depth: usize) -> Parsed {
        if self.eat("(") {
            return self.function(name, place, depth);
        }
        let variable = self.variables.iter().rposition(|v| v == name);
        match name {
            "true" => Ok(Expr::Bool(true)),
            "false" => Ok(Expr::Bool(false)),
            "null" => Ok(Expr::Null),
            _ => match (variable, fact_of(name)) {
                (Some(number), _) => Ok(Expr::Variable(number)),
                (None, Some(fact)) => Ok(Expr::Fact(fact)),
                (None, None) => self.fail_at(
                    place,
                    &format!("`{name}` is not known; a condition reads args, claims and uri"),
                ),
            },
        }
    }

    fn function(&mut self, name: &str, place: usize, depth: usize) -> Parsed {
        let mut items = self.items(")", depth + 1)?;
        match (name, items.len()) {
            ("has", 1) => match items.pop() {
                Some(Expr::Select(of, member)) => Ok(Expr::Has(of, member)),
                _ => self.fail_at(place, "has() takes a selection, as in has(args.reason)"),
            },
            ("size", 1) => Ok(Expr::Call(Function::Size, items)),
            ("int", 1) => Ok(Expr::Call(Function::Int, items)),
            ("string", 1) => Ok(Expr::Call(Function::String, items)),
            ("has" | "size" | "int" | "string", _) => {
                self.fail_at(place, &format!("{name}() takes one argument"))
            }
            _ => self.fail_at(place, &format!("the function {name}() is not known")),
        }
    }

    fn method(&mut self, of: Expr, name: &str, place: usize, depth: usize) -> Parsed {
        let each = match name {
            "all" => Macro::All,
            "exists" => Macro::Exists,
            "exists_one" => Macro::ExistsOne,
            "filter" => Macro::Filter,
            "map" => Macro::Map,
            _ => return self.plain_method(of, name, place, depth),
        };
        let variable = self.name("a macro's first argument is a variable's name")?;
        if fact_of(&variable).is_some() || self.variables.contains(&variable) {
            return self.fail_at(
                place,
                &format!("the variable {variable} hides another name"),
            );
        }
        self.need(",")?;
        if self.variables.len() == NESTED_MACROS_MAX {
            return self.fail_at(place, "macros are nested too deeply");
        }
        self.variables.push(variable);
        let body = self.expression(depth + 1);
        self.variables.pop();
        let body = body?;
        self.need(")")?;
        Ok(Expr::Each(each, Box::new(of), Box::new(body)))
    }

    fn plain_method(&mut self, of: Expr, name: &str, place: usize, depth: usize) -> Parsed {
        let mut items = self.items(")", depth + 1)?;
        let function = match (name, items.len()) {
            ("size", 0) => Function::Size,
            ("contains", 1) => Function::Contains,
            ("startsWith", 1) => Function::StartsWith,
            ("endsWith", 1) => Function::EndsWith,
            ("matches", 1) => {
                let pattern = items.pop();
                return Ok(Expr::Matches(Box::new(of), self.pattern(pattern, place)?));
            }
            ("size" | "contains" | "startsWith" | "endsWith" | "matches", _) => {
                return self.fail_at(
                    place,
                    &format!("{name}() has the wrong number of arguments"),
                );
            }
            _ => return self.fail_at(place, &format!("the function {name}() is not known")),
        };
        items.insert(0, of);
        Ok(Expr::Call(function, items))
    }

    fn pattern(&self, pattern: Option<Expr>, place: usize) -> Result<Regex, CompileError> {
        let Some(Expr::Text(pattern)) = pattern else {
            return self.fail_at(place, "matches() takes a literal pattern");
        };
        let built = RegexBuilder::new(&pattern)
            .size_limit(PATTERN_BYTES_MAX)
            .build();
        built.or_else(|_| self.fail_at(place, "the pattern of matches() is invalid or too large"))
    }

    fn items(&mut self, close: &str, depth: usize) -> Result<Vec<Expr>, CompileError> {
        let mut items = Vec::new();
        while !self.eat(close) {
            if !items.is_empty() {
                self.need(",")?;
                if self.eat(close) {
                    break;
                }
            }
            items.push(self.expression(depth)?);
        }
        Ok(items)
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Expr, Expr)>, CompileError> {
        let mut pairs = Vec::new();
        while !self.eat("}") {
            if !pairs.is_empty() {
                self.need(",")?;
                if self.eat("}") {
                    break;
                }
            }
            let key = self.expression(depth)?;
            self.need(":")?;
            pairs.push((key, self.expression(depth)?));
        }
        Ok(pairs)
    }
}
