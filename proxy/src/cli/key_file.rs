//! `--key-file`: a secret from a file, never from the command line.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use safeguard_vault::{KeyMaterial, decode_base64, decode_hex};
use zeroize::Zeroizing;

use super::CliError;

/// The largest key file, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// `--key-file FILE [--key-format FORMAT]`
#[derive(Debug, Args)]
pub(super) struct KeyFileArgs {
    /// The file that holds the key
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: PathBuf,
    /// How the key is written there; base64 in either alphabet, padded or not
    #[arg(long, value_enum, default_value_t = KeyFormat::Base64)]
    pub(super) key_format: KeyFormat,
}

/// How a key is written in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KeyFormat {
    /// Standard or URL-safe.
    Base64,
    /// Two digits a byte.
    Hex,
    /// The bytes themselves, all of them.
    Raw,
}

impl KeyFileArgs {
    /// The secret, of any length.
    ///
    /// # Errors
    /// The file can't be read, is too large or empty, or is not in the format.
    pub(super) fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, CliError> {
        let content = self
            .read()
            .map_err(|error| self.wrong(&error.to_string()))?;
        if content.len() > usize::try_from(KEY_FILE_BYTES_MAX).unwrap_or(usize::MAX) {
            return Err(self.wrong(&format!(
                "it has more than {KEY_FILE_BYTES_MAX} bytes, which is no key"
            )));
        }
        if content.is_empty() {
            return Err(self.wrong("it is empty"));
        }
        let decoded = match self.key_format {
            KeyFormat::Raw => return Ok(content),
            KeyFormat::Base64 => self.text(&content).map(decode_base64)?,
            KeyFormat::Hex => self.text(&content).map(decode_hex)?,
        };
        decoded.map_err(|error| self.wrong(&format!("{error} (or say --key-format)")))
    }

    /// A key of 32 bytes.
    ///
    /// # Errors
    /// As [`Self::bytes`], and any other length.
    pub(super) fn material(&self) -> Result<KeyMaterial, CliError> {
        KeyMaterial::from_raw(&self.bytes()?).map_err(|error| self.wrong(&error.to_string()))
    }

    fn read(&self) -> std::io::Result<Zeroizing<Vec<u8>>> {
        // Room for all of it at once: a buffer that grows leaves copies behind.
        let mut content = Zeroizing::new(Vec::with_capacity(
            usize::try_from(KEY_FILE_BYTES_MAX + 1).unwrap_or(0),
        ));
        File::open(&self.key_file)?
            .take(KEY_FILE_BYTES_MAX + 1)
            .read_to_end(&mut content)?;
        Ok(content)
    }

    fn text<'c>(&self, content: &'c [u8]) -> Result<&'c str, CliError> {
        std::str::from_utf8(content)
            .map_err(|_| self.wrong("it is no text; for the bytes themselves say --key-format raw"))
    }

    fn wrong(&self, why: &str) -> CliError {
        CliError::Usage(format!("{}: {why}", self.key_file.display()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A key file that lives as long as its folder.
    pub(in crate::cli) fn key_file(content: &[u8]) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, content).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (folder, path)
    }

    fn read(content: &[u8], key_format: KeyFormat) -> Result<Vec<u8>, String> {
        let (_folder, path) = key_file(content);
        let arguments = KeyFileArgs {
            key_file: path.into(),
            key_format,
        };
        arguments
            .bytes()
            .map(|bytes| bytes.to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_format_is_read_as_it_says() {
        assert_eq!(read(b"-_8=\n", KeyFormat::Base64).unwrap(), [0xfb, 0xff]);
        assert_eq!(read(b"+/8", KeyFormat::Base64).unwrap(), [0xfb, 0xff]);
        assert_eq!(read(b"00fF\n", KeyFormat::Hex).unwrap(), [0, 0xff]);
        assert_eq!(read(b"\xff\n", KeyFormat::Raw).unwrap(), b"\xff\n");
    }

    #[test]
    fn a_refusal_names_the_file_and_shows_nothing_of_it() {
        for (content, format) in [
            (&b"canary!"[..], KeyFormat::Base64),
            (b"canary", KeyFormat::Hex),
            (b"", KeyFormat::Raw),
            (b"canary\xff", KeyFormat::Hex),
            (&[b'a'; 70_000], KeyFormat::Raw),
        ] {
            let refusal = read(content, format).unwrap_err();
            assert!(
                refusal.contains("/key: ") && !refusal.contains("canary"),
                "{refusal}"
            );
        }
    }
}
