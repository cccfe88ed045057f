//! Answers that the upstream encoded although identity was asked for: decoded piece by piece, within bounds.
//!
//! What one piece becomes is bounded, and so is how much more than itself the whole may become: a body that grows
//! beyond either is no answer but an attack (a decompression bomb), and ends the exchange.

use std::io::{self, Write};

use bytes::Bytes;
use http::HeaderValue;
use thiserror::Error;

/// How many times its size a body may become. DEFLATE can reach 1,032; JSON that anybody wrote does not come near this.
const RATIO_MAX: usize = 256;
/// What a body may become whatever its size, in bytes: a short one of repeated words is no bomb.
const DECODED_BYTES_FREE: usize = 256 * 1024;
/// The largest window of Zstandard, as a power of two: 8 MiB (RFC 9659 §3).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Brotli's own buffer, in bytes.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// Why a body can't be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum DecodeError {
    /// It is not what `Content-Encoding` says.
    #[error("the body is not encoded as it says")]
    Malformed,
    /// It becomes larger than its bound.
    #[error("the body becomes larger than its bound")]
    TooLarge,
}

/// What an answer's `Content-Encoding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Brotli,
    Zstd,
    /// Another one, or more than one.
    Unknown,
}

impl Coding {
    pub(super) fn of(value: Option<&HeaderValue>) -> Self {
        let Some(value) = value else {
            return Self::Identity;
        };
        let name = value.as_bytes().trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match () {
            () if name.is_empty() || is("identity") => Self::Identity,
            () if is("gzip") || is("x-gzip") => Self::Gzip,
            () if is("br") => Self::Brotli,
            () if is("zstd") => Self::Zstd,
            () => Self::Unknown,
        }
    }
}

/// Takes what a decoder gives, up to a bound.
struct Sink {
    decoded: Vec<u8>,
    room: usize,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.room {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.room -= bytes.len();
        self.decoded.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Inner {
    Gzip(flate2::write::MultiGzDecoder<Sink>),
    Brotli(Box<brotli_decompressor::DecompressorWriter<Sink>>),
    Zstd(zstd::stream::write::Decoder<'static, Sink>),
}

/// Decodes one body.
pub(super) struct Decoder {
    inner: Inner,
    /// What one piece may become, in bytes.
    piece_bytes_max: usize,
    taken: usize,
    given: usize,
}

impl Decoder {
    /// A decoder for a coding; none where there is nothing to decode, or nobody knows how.
    pub(super) fn new(coding: Coding, piece_bytes_max: usize) -> Option<Self> {
        let sink = Sink {
            decoded: Vec::new(),
            room: 0,
        };
        let inner = match coding {
            Coding::Identity | Coding::Unknown => return None,
            Coding::Gzip => Inner::Gzip(flate2::write::MultiGzDecoder::new(sink)),
            Coding::Brotli => Inner::Brotli(Box::new(
                brotli_decompressor::DecompressorWriter::new(sink, BROTLI_BUFFER_BYTES),
            )),
            Coding::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(sink).ok()?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).ok()?;
                Inner::Zstd(decoder)
            }
        };
        Some(Self {
            inner,
            piece_bytes_max,
            taken: 0,
            given: 0,
        })
    }

    /// What one more piece of the body becomes; perhaps nothing yet.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Bytes, DecodeError> {
        self.taken = self.taken.saturating_add(piece.len());
        let whole_max = self
            .taken
            .saturating_mul(RATIO_MAX)
            .saturating_add(DECODED_BYTES_FREE);
        let room = whole_max
            .saturating_sub(self.given)
            .min(self.piece_bytes_max);
        self.sink().room = room;
        let written = match &mut self.inner {
            Inner::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Inner::Brotli(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Inner::Zstd(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
        };
        written.map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => DecodeError::TooLarge,
            _ => DecodeError::Malformed,
        })?;
        let decoded = std::mem::take(&mut self.sink().decoded);
        self.given = self.given.saturating_add(decoded.len());
        Ok(Bytes::from(decoded))
    }

    fn sink(&mut self) -> &mut Sink {
        match &mut self.inner {
            Inner::Gzip(decoder) => decoder.get_mut(),
            Inner::Brotli(decoder) => decoder.get_mut(),
            Inner::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(plain, 3).unwrap()
    }

    fn decode(coding: Coding, body: &[u8], step: usize) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new(coding, 16 * MIB).unwrap();
        let mut whole = Vec::new();
        for piece in body.chunks(step) {
            whole.extend_from_slice(&decoder.push(piece)?);
        }
        Ok(whole)
    }

    #[test]
    fn every_coding_decodes_however_it_is_cut() {
        let plain = br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.repeat(50);
        // The workspace has no encoder of Brotli: one such text as Node.js writes it.
        let brotli = b"\x8b\x11\x80{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\x03";
        let once = plain.get(..36);
        assert_eq!(
            decode(Coding::Brotli, brotli, 1).as_deref().ok(),
            once,
            "Brotli"
        );
        for (coding, body) in [(Coding::Gzip, gzip(&plain)), (Coding::Zstd, zstd(&plain))] {
            for step in [1, 7, body.len()] {
                assert_eq!(decode(coding, &body, step).unwrap(), plain, "{coding:?}");
            }
        }
    }

    #[test]
    fn a_bomb_ends_before_it_is_whole() {
        let zeros = vec![b' '; 64 * MIB];
        for (coding, body) in [(Coding::Gzip, gzip(&zeros)), (Coding::Zstd, zstd(&zeros))] {
            for step in [1000, body.len()] {
                assert_eq!(
                    decode(coding, &body, step),
                    Err(DecodeError::TooLarge),
                    "{coding:?}"
                );
            }
        }
    }

    #[test]
    fn one_piece_may_not_become_more_than_the_bound() {
        let body = gzip(&vec![b'a'; 200 * 1024]);
        let mut decoder = Decoder::new(Coding::Gzip, 100 * 1024).unwrap();
        assert_eq!(decoder.push(&body), Err(DecodeError::TooLarge));
    }

    #[test]
    fn what_is_not_encoded_as_it_says_is_refused() {
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let plain = br#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
            assert_eq!(
                decode(coding, plain, 99),
                Err(DecodeError::Malformed),
                "{coding:?}"
            );
        }
    }

    #[test]
    fn codings_are_known_by_their_names_and_two_at_once_are_not() {
        let of = |text| Coding::of(Some(&HeaderValue::from_static(text)));
        assert_eq!(of("GZIP"), Coding::Gzip);
        assert_eq!(of("br"), Coding::Brotli);
        assert_eq!(of("zstd"), Coding::Zstd);
        assert_eq!(of("identity"), Coding::Identity);
        assert_eq!(of("gzip, br"), Coding::Unknown);
        assert_eq!(of("deflate"), Coding::Unknown);
    }
}
