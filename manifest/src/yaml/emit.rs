//! An object as block-style YAML, in the layout of `kubectl get -o yaml`.

use serde_json::{Map, Number, Value};

use super::MAX_DEPTH;
use super::scalar;
use crate::cut::Cut;
use crate::work;

/// Hashes rest on keys in sorted order, as a `BTreeMap` has them: no crate may switch on `preserve_order`.
const _: () = assert!(
    size_of::<Map<String, Value>>() == size_of::<std::collections::BTreeMap<String, Value>>(),
    "serde_json's feature preserve_order must stay off"
);

/// Keys that come before the sorted ones.
const FIRST_IN_OBJECT: &[&str] = &["apiVersion", "kind", "metadata"];
const FIRST_IN_METADATA: &[&str] = &["name", "namespace"];

/// Nested deeper than [`MAX_DEPTH`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooDeep;

/// Appends the object as one YAML document, without what `cut` leaves out.
pub(crate) fn emit(
    object: &Map<String, Value>,
    cut: Option<&Cut>,
    out: &mut Vec<u8>,
) -> Result<(), TooDeep> {
    let mut writer = Writer { out };
    if is_empty_map(object, cut) {
        writer.raw("{}\n");
        return Ok(());
    }
    for (key, value) in ordered(object, FIRST_IN_OBJECT) {
        let below = cut.and_then(|cut| cut.key(key));
        match value {
            Value::Object(metadata) if key == "metadata" && !is_left_out(metadata, below) => {
                writer.raw("metadata:\n");
                let entries = ordered(metadata, FIRST_IN_METADATA);
                writer.entries(entries, below, At::TOP.deeper(2)?, false)?;
            }
            _ => writer.entries([(key, value)], cut, At::TOP, false)?,
        }
    }
    Ok(())
}

/// The keys of the map at this JSON pointer of an object, in the order in which its canonical text has them.
#[must_use]
pub fn keys_in_order(pointer: &str, map: &Map<String, Value>) -> Vec<String> {
    let first = match pointer {
        "" => FIRST_IN_OBJECT,
        "/metadata" => FIRST_IN_METADATA,
        _ => &[],
    };
    ordered(map, first).map(|(key, _)| key.to_owned()).collect()
}

fn is_left_out(map: &Map<String, Value>, cut: Option<&Cut>) -> bool {
    cut.is_some_and(Cut::is_all) || is_empty_map(map, cut)
}

fn ordered<'a>(
    map: &'a Map<String, Value>,
    first: &'static [&'static str],
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let head = first.iter().filter_map(|key| Some((*key, map.get(*key)?)));
    let tail = map
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .filter(|(key, _)| !first.contains(key));
    head.chain(tail)
}

fn is_empty_map(map: &Map<String, Value>, cut: Option<&Cut>) -> bool {
    match cut {
        None => map.is_empty(),
        Some(cut) => map.keys().all(|key| {
            work::done(1);
            cut.key(key).is_some_and(Cut::is_all)
        }),
    }
}

fn is_empty_list(list: &[Value], cut: Option<&Cut>) -> bool {
    match cut {
        None => list.is_empty(),
        Some(cut) => (0..list.len()).all(|index| {
            work::done(1);
            cut.item(index).is_some_and(Cut::is_all)
        }),
    }
}

/// Where a collection is: its column, and how many collections it is in, itself included.
#[derive(Clone, Copy)]
struct At {
    indent: usize,
    depth: usize,
}

impl At {
    const TOP: Self = Self {
        indent: 0,
        depth: 1,
    };

    fn deeper(self, indent: usize) -> Result<Self, TooDeep> {
        if self.depth >= MAX_DEPTH {
            return Err(TooDeep);
        }
        Ok(Self {
            indent: self.indent + indent,
            depth: self.depth + 1,
        })
    }
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl Writer<'_> {
    /// A map's entries. With `inline` the cursor is at the first one's column already.
    fn entries<'v>(
        &mut self,
        entries: impl IntoIterator<Item = (&'v str, &'v Value)>,
        cut: Option<&Cut>,
        at: At,
        mut inline: bool,
    ) -> Result<(), TooDeep> {
        for (key, value) in entries {
            work::done(1);
            let below = cut.and_then(|cut| cut.key(key));
            if below.is_some_and(Cut::is_all) {
                continue;
            }
            if !std::mem::take(&mut inline) {
                self.indent(at.indent);
            }
            let start = self.out.len();
            scalar::write_line(self.out, key);
            let explicit = self.out.len() - start > scalar::MAX_IMPLICIT_KEY;
            if explicit {
                self.out.splice(start..start, *b"? ");
                self.raw("\n");
                self.indent(at.indent);
            }
            self.raw(":");
            self.value_of_key(value, below, at, explicit)?;
        }
        Ok(())
    }

    fn value_of_key(
        &mut self,
        value: &Value,
        cut: Option<&Cut>,
        at: At,
        explicit: bool,
    ) -> Result<(), TooDeep> {
        match value {
            Value::Object(map) if !is_empty_map(map, cut) => {
                self.raw("\n");
                self.map(map, cut, at.deeper(2)?, false)
            }
            Value::Array(list) if !is_empty_list(list, cut) => {
                self.raw("\n");
                // Lists stand below their key without indentation, as kubectl writes them.
                self.list(list, cut, at.deeper(if explicit { 2 } else { 0 })?, false)
            }
            _ => {
                self.raw(" ");
                self.leaf(value, at)
            }
        }
    }

    fn map(
        &mut self,
        map: &Map<String, Value>,
        cut: Option<&Cut>,
        at: At,
        inline: bool,
    ) -> Result<(), TooDeep> {
        let entries = map.iter().map(|(key, value)| (key.as_str(), value));
        self.entries(entries, cut, at, inline)
    }

    fn list(
        &mut self,
        list: &[Value],
        cut: Option<&Cut>,
        at: At,
        mut inline: bool,
    ) -> Result<(), TooDeep> {
        for (index, item) in list.iter().enumerate() {
            work::done(1);
            let below = cut.and_then(|cut| cut.item(index));
            if below.is_some_and(Cut::is_all) {
                continue;
            }
            if !std::mem::take(&mut inline) {
                self.indent(at.indent);
            }
            self.raw("- ");
            match item {
                Value::Object(map) if !is_empty_map(map, below) => {
                    self.map(map, below, at.deeper(2)?, true)?;
                }
                Value::Array(list) if !is_empty_list(list, below) => {
                    self.list(list, below, at.deeper(2)?, true)?;
                }
                _ => self.leaf(item, at)?,
            }
        }
        Ok(())
    }

    /// A scalar or an empty collection, to the end of its last line.
    fn leaf(&mut self, value: &Value, at: At) -> Result<(), TooDeep> {
        match value {
            Value::Null => self.raw("null"),
            Value::Bool(true) => self.raw("true"),
            Value::Bool(false) => self.raw("false"),
            Value::Number(number) => self.number(number),
            Value::String(text) => scalar::write(self.out, text, at.indent + 2),
            // Empty ones count as levels for whoever reads them back.
            Value::Array(_) => {
                at.deeper(0)?;
                self.raw("[]");
            }
            Value::Object(_) => {
                at.deeper(0)?;
                self.raw("{}");
            }
        }
        if self.out.last() != Some(&b'\n') {
            self.raw("\n");
        }
        Ok(())
    }

    /// YAML 1.1 takes a number with an exponent for a float only if it has a point and a sign.
    fn number(&mut self, number: &Number) {
        let text = number.to_string();
        match text.split_once('e') {
            None => self.raw(&text),
            Some((mantissa, exponent)) => {
                self.raw(mantissa);
                if !mantissa.contains('.') {
                    self.raw(".0");
                }
                self.raw("e");
                if !exponent.starts_with(['-', '+']) {
                    self.raw("+");
                }
                self.raw(exponent);
            }
        }
    }

    fn indent(&mut self, columns: usize) {
        work::done(columns);
        self.out.resize(self.out.len() + columns, b' ');
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}
