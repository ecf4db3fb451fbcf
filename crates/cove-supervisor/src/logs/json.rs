//! The lines of Docker's `json-file`: `{"log":…,"stream":…,"attrs":…,"time":…}`.
//!
//! A text ends with its newline, unless it is a piece of a longer line. What Go's
//! encoder escapes is escaped here too, so that a line is Docker's byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::record::{LogStream, Record};
use crate::clock::STAMP;

/// Where the fraction of a second begins in a timestamp.
const FRACTION: usize = 19;

/// Appends a record with its newline. `tail` is what [`tail`] makes.
pub(super) fn encode(
    out: &mut Vec<u8>,
    time: &[u8; STAMP],
    stream: LogStream,
    tail: &[u8],
    content: &[u8],
    full: bool,
) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, content);
    if full {
        out.extend_from_slice(b"\\n");
    }
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.as_str().as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(tail);
    out.extend_from_slice(b"\"time\":\"");
    out.extend_from_slice(short(time));
    out.extend_from_slice(b"Z\"}\n");
}

/// The attributes as a part of every record; nothing when there are none.
pub(super) fn tail(attributes: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    if attributes.is_empty() {
        return out;
    }
    out.extend_from_slice(b"\"attrs\":{");
    for (n, (key, value)) in attributes.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"\"" } else { b",\"" });
        escape(&mut out, key.as_bytes());
        out.extend_from_slice(b"\":\"");
        escape(&mut out, value.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"},");
    out
}

/// A time as Go prints it: without its `Z`, and without the zeros at its end.
fn short(time: &[u8; STAMP]) -> &[u8] {
    let digits = &time[..STAMP - 1];
    let end = digits.iter().rposition(|byte| *byte != b'0').unwrap_or(0);
    if end <= FRACTION {
        &digits[..FRACTION]
    } else {
        &digits[..=end]
    }
}

/// The time with all its digits again.
fn long(time: &str) -> Cow<'_, str> {
    let Some(whole) = time.strip_suffix('Z') else {
        return time.into();
    };
    if time.len() >= STAMP || whole.len() < FRACTION {
        return time.into();
    }
    let dot = if whole.len() == FRACTION { "." } else { "" };
    let padded = format!("{whole}{dot}");
    format!("{padded:0<width$}Z", width = STAMP - 1).into()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Whether a byte stands for itself.
const fn is_plain(byte: u8) -> bool {
    !matches!(byte, 0..0x20 | b'"' | b'\\' | b'<' | b'>' | b'&' | 0x80..)
}

const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "less than 256")]
        let byte = at as u8;
        table[at] = is_plain(byte);
        at += 1;
    }
    table
};

fn escape(out: &mut Vec<u8>, mut bytes: &[u8]) {
    loop {
        let plain = bytes
            .iter()
            .position(|byte| !PLAIN[usize::from(*byte)])
            .unwrap_or(bytes.len());
        out.extend_from_slice(&bytes[..plain]);
        bytes = &bytes[plain..];
        let Some(&byte) = bytes.first() else { return };
        let length = match byte {
            b'"' | b'\\' => {
                out.extend_from_slice(&[b'\\', byte]);
                1
            }
            b'\n' => {
                out.extend_from_slice(b"\\n");
                1
            }
            b'\r' => {
                out.extend_from_slice(b"\\r");
                1
            }
            0..0x80 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 0xf)]);
                1
            }
            0x80.. => wide(out, bytes),
        };
        bytes = &bytes[length..];
    }
}

/// Appends the character at the start of `bytes`; its length. Each byte that belongs to
/// none is replaced.
fn wide(out: &mut Vec<u8>, bytes: &[u8]) -> usize {
    let window = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        None => {
            out.extend_from_slice(b"\\ufffd");
            1
        }
        Some('\u{2028}') => {
            out.extend_from_slice(b"\\u2028");
            3
        }
        Some('\u{2029}') => {
            out.extend_from_slice(b"\\u2029");
            3
        }
        Some(char) => {
            out.extend_from_slice(&bytes[..char.len_utf8()]);
            char.len_utf8()
        }
    }
}

/// How much of `bytes` ends with a whole character: a line is not divided within one,
/// which would be lost as two halves that are no text.
pub(super) fn whole_characters(bytes: &[u8]) -> usize {
    let last = bytes.iter().rev().take(4);
    let Some(back) = last.clone().position(|byte| byte & 0xc0 != 0x80) else {
        return bytes.len();
    };
    let length = match bytes[bytes.len() - 1 - back] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if length > back + 1 {
        bytes.len() - 1 - back
    } else {
        bytes.len()
    }
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(default, borrow)]
    log: Cow<'a, str>,
    #[serde(default)]
    stream: Cow<'a, str>,
    #[serde(default)]
    attrs: Option<BTreeMap<String, String>>,
    #[serde(default)]
    time: &'a str,
}

pub(super) fn parse(line: &[u8]) -> Option<Record<'_>> {
    let entry: Entry<'_> = serde_json::from_slice(line).ok()?;
    let mut content = match entry.log {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    let full = content.ends_with(b"\n");
    if full {
        match &mut content {
            Cow::Borrowed(bytes) => *bytes = &bytes[..bytes.len() - 1],
            Cow::Owned(bytes) => bytes.truncate(bytes.len() - 1),
        }
    }
    Some(Record {
        timestamp: long(entry.time),
        stream: LogStream::of(entry.stream.as_bytes())?,
        full,
        content,
        attributes: entry.attrs.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(content: &[u8], full: bool) -> String {
        let mut out = Vec::new();
        let time = b"2026-11-30T15:16:16.657736072Z";
        encode(&mut out, time, LogStream::Stdout, b"", content, full);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_dockers() {
        // Each as dockerd 20.10 wrote it.
        assert_eq!(
            line(
                b"q\"\\ <>& \t\r \x01\x7f \xff\xfe \xc3\xbc \xe2\x80\xa8 \xe2\x82 x",
                true
            ),
            "{\"log\":\"q\\\"\\\\ \\u003c\\u003e\\u0026 \\u0009\\r \\u0001\u{7f} \\ufffd\\ufffd ü \\u2028 \\ufffd\\ufffd x\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-30T15:16:16.657736072Z\"}\n"
        );
        assert_eq!(
            line(b"abc", false),
            "{\"log\":\"abc\",\"stream\":\"stdout\",\"time\":\"2026-11-30T15:16:16.657736072Z\"}\n"
        );
        let attributes = [("cc", "3"), ("a", "1<2")];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(
            tail(&BTreeMap::from(attributes)),
            b"\"attrs\":{\"a\":\"1\\u003c2\",\"cc\":\"3\"},"
        );
    }

    #[test]
    fn times_lose_the_zeros_at_their_end_and_get_them_back() {
        for (stamp, text) in [
            (
                b"2026-11-30T15:16:16.657736072Z",
                "2026-11-30T15:16:16.657736072",
            ),
            (
                b"2026-11-30T15:16:16.657736000Z",
                "2026-11-30T15:16:16.657736",
            ),
            (b"2026-11-30T15:16:10.000000000Z", "2026-11-30T15:16:10"),
        ] {
            assert_eq!(short(stamp), text.as_bytes());
            assert_eq!(long(&format!("{text}Z")).as_bytes(), stamp);
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for (content, full) in [
            (&b"x \"\\\t\xc3\xbc"[..], true),
            (b"", true),
            (b"piece", false),
        ] {
            let text = line(content, full);
            let record = parse(text.trim_end().as_bytes()).unwrap();
            assert_eq!((&*record.content, record.full), (content, full));
        }
        for bad in [
            "",
            "{",
            "{}",
            "[]",
            "{\"log\":\"x\",\"stream\":\"other\",\"time\":\"\"}",
        ] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn no_character_is_divided() {
        for (bytes, whole) in [
            (&b"abc"[..], 3),
            (b"ab\xc3", 2),
            (b"ab\xc3\xbc", 4),
            (b"a\xe2\x82", 1),
            (b"a\xf0\x9f\x98", 1),
            (b"a\xf0\x9f\x98\x80", 5),
            (b"\x80\x80\x80\x80\x80", 5),
            (b"a\xff", 2),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }
}
