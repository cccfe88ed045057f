//! Text to tokens.

use super::CompileError;
use super::limits::SOURCE_BYTES_MAX;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Name(String),
    Sign(&'static str),
}

/// A token and the characters before it.
pub(super) type Placed = (usize, Token);

const SIGNS: [&str; 26] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")",
    "[", "]", "{", "}", ",", ".", "=", "&",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, CompileError> {
    if text.len() > SOURCE_BYTES_MAX {
        let message = format!("the condition is longer than {SOURCE_BYTES_MAX} bytes");
        return Err(CompileError { at: 0, message });
    }
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
    };
    let mut tokens = Vec::new();
    while let Some(c) = lexer.peek(0) {
        let start = lexer.at;
        if c.is_ascii_whitespace() {
            lexer.at += 1;
            continue;
        }
        if c == '/' && lexer.peek(1) == Some('/') {
            break;
        }
        tokens.push((start, lexer.token(c)?));
    }
    Ok(tokens)
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn error<T>(&self, message: &str) -> Result<T, CompileError> {
        Err(CompileError {
            at: self.at,
            message: message.to_owned(),
        })
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.peek(0).filter(|c| wanted(*c)) {
            taken.push(c);
            self.at += 1;
        }
        taken
    }

    fn token(&mut self, c: char) -> Result<Token, CompileError> {
        if c == '"' || c == '\'' {
            return self.text(c);
        }
        if c.is_ascii_digit() {
            return self.number();
        }
        if c.is_ascii_alphabetic() || c == '_' {
            return Ok(Token::Name(
                self.take_while(|c| c.is_ascii_alphanumeric() || c == '_'),
            ));
        }
        for sign in SIGNS {
            if sign
                .chars()
                .enumerate()
                .all(|(i, s)| self.peek(i) == Some(s))
            {
                if !matches!(sign, "=" | "&") {
                    self.at += sign.len();
                }
                return match sign {
                    "=" | "&" => self.error(&format!(
                        "`{sign}` alone is no operator; write `{sign}{sign}`"
                    )),
                    _ => Ok(Token::Sign(sign)),
                };
            }
        }
        self.error(&format!("`{c}` has no meaning in a condition"))
    }

    fn number(&mut self) -> Result<Token, CompileError> {
        let start = self.at;
        let mut digits = self.take_while(|c| c.is_ascii_digit());
        let mut double = false;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
            digits.push('.');
            digits.push_str(&self.take_while(|c| c.is_ascii_digit()));
            double = true;
        }
        let unsigned = !double && matches!(self.peek(0), Some('u' | 'U'));
        if unsigned {
            self.at += 1;
        }
        if self
            .peek(0)
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            return self.error("a number goes on with a letter");
        }
        let token = if double {
            digits
                .parse()
                .ok()
                .filter(|d: &f64| d.is_finite())
                .map(Token::Double)
        } else if unsigned {
            digits.parse().ok().map(Token::Uint)
        } else {
            digits.parse().ok().map(Token::Int)
        };
        token.ok_or(CompileError {
            at: start,
            message: "the number is out of range".to_owned(),
        })
    }

    fn text(&mut self, quote: char) -> Result<Token, CompileError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek(0) {
                None | Some('\n') => return self.error("the text is not closed"),
                Some(c) if c == quote => break,
                Some('\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                Some(c) => text.push(c),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(Token::Text(text))
    }

    /// The character behind a backslash; leaves the place on its last one.
    fn escape(&mut self) -> Result<char, CompileError> {
        Ok(match self.peek(0) {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(c @ ('\\' | '"' | '\'' | '?' | '`')) => c,
            Some('u') => {
                let digits: String = (1..5).filter_map(|i| self.peek(i)).collect();
                let code = u32::from_str_radix(&digits, 16)
                    .ok()
                    .filter(|_| digits.len() == 4);
                let Some(c) = code.and_then(char::from_u32) else {
                    return self.error("\\u needs four hexadecimal digits of a character");
                };
                self.at += 4;
                c
            }
            _ => {
                return self
                    .error("the escape is not known; \\\\ \\\" \\' \\n \\r \\t \\uHHHH are");
            }
        })
    }
}
