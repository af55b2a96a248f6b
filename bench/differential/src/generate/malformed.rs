//! Frames that are wrong in form: cut, with bytes too many, with counts that lie, unknown keys and versions, broken
//! headers and lengths.
//!
//! Deliberately absent, because Kafka takes it for something else and Corelog refuses it: negative lengths other than -1 (null to
//! Kafka, or no tagged fields at all), and text that is not UTF-8 (other characters to Kafka).

use corelog::api::shape::{Mark, Prefix, Shape, walk};

use super::{Maker, shapes};
use crate::script::Request;

/// Versions around every range, and keys that nobody has.
const ODD_VERSIONS: &[i16] = &[-1, 0, 1, 2, 3, 20, 99, i16::MAX, i16::MIN];
const ODD_KEYS: &[i16] = &[-1, -2, 4, 5, 6, 7, 67, 99, 1_000, i16::MAX, i16::MIN];

/// APIs whose sound requests change nothing, so that what survives a mutation changes nothing either.
const HARMLESS: &[i16] = &[2, 18, 32, 60, 15, 16, 9, 23, 29, 35, 55, 61, 65, 66, 74, 75];

/// One flaw per frame.
pub(super) fn any(maker: &mut Maker<'_>) {
    for _ in 0..14 {
        let keys: Vec<i16> =
            maker.world.versions.keys().copied().filter(|key| HARMLESS.contains(key)).collect();
        if keys.is_empty() {
            return;
        }
        let key = maker.random.pick(&keys);
        let (Some(version), Some(shape)) = (maker.version(key), Shape::of(key)) else { continue };
        let body = shapes::body(maker, shape, version);
        match maker.random.below(12) {
            0..=2 => cut(maker, shape, version, body),
            3 => longer(maker, shape, version, body),
            4..=6 => lying_count(maker, shape, version, body),
            7 => unknown_version(maker, &keys),
            8 => unknown_key(maker),
            9 => header(maker, shape, version, &body),
            10 => length(maker, shape, version, &body),
            _ => flipped(maker, shape, version, body),
        }
    }
}

fn add(maker: &mut Maker<'_>, shape: &Shape, version: i16, body: &[u8], what: &str) {
    match maker.frame(shape.key, version, body) {
        Ok(frame) => {
            let label = format!("{} version {version}: {what}", shape.name);
            maker.push(Request::new(shape.key, version, maker.correlation_id(), frame, label));
        }
        Err(error) => maker.failed = Some(error),
    }
}

fn cut(maker: &mut Maker<'_>, shape: &'static Shape, version: i16, mut body: Vec<u8>) {
    let len = maker.random.below(body.len().max(1));
    body.truncate(len);
    add(maker, shape, version, &body, &format!("body cut to {len} bytes"));
}

fn longer(maker: &mut Maker<'_>, shape: &'static Shape, version: i16, mut body: Vec<u8>) {
    let extra = maker.random.pick(&[1, 4, 100]);
    body.resize(body.len() + extra, 0);
    add(maker, shape, version, &body, &format!("{extra} bytes after the body"));
}

fn lying_count(maker: &mut Maker<'_>, shape: &'static Shape, version: i16, mut body: Vec<u8>) {
    let mut marks: Vec<Mark> = Vec::new();
    if walk(shape, version, &body, |mark| marks.push(mark)).is_err() || marks.is_empty() {
        return add(maker, shape, version, &body, "as it is");
    }
    let mark = maker.random.pick(&marks);
    let lie: Vec<u8> = match mark.prefix {
        Prefix::Int16 => maker.random.pick(&[i16::MAX, 1_000, 300]).to_be_bytes().to_vec(),
        // What Kafka could reserve: a billion is tried, two billion would only tell how large its heap is.
        Prefix::Int32 => maker.random.pick(&[i32::MAX, 100_000, 5]).to_be_bytes().to_vec(),
        Prefix::Varint => maker.random.pick(&[
            vec![0xff, 0xff, 0xff, 0xff, 0x07],
            vec![0xff, 0xff, 0xff, 0xff, 0xff],
            vec![0x90, 0x4e],
            vec![0x7f],
            vec![0x81, 0x00],
        ]),
    };
    body.splice(mark.start..mark.end, lie.iter().copied());
    add(maker, shape, version, &body, &format!("the count at byte {} is {lie:?}", mark.start));
}

/// One byte, changed; text stays text.
fn flipped(maker: &mut Maker<'_>, shape: &'static Shape, version: i16, mut body: Vec<u8>) {
    let at = maker.random.below(body.len().max(1));
    let mut bits = maker.random.pick(&[1_u8, 0x80, 0xff]);
    if let Some(byte) = body.get_mut(at) {
        if byte.is_ascii_graphic() || !byte.is_ascii() {
            bits = 1;
        }
        *byte ^= bits;
    }
    add(maker, shape, version, &body, &format!("byte {at} xor {bits:#x}"));
}

fn raw_header(maker: &Maker<'_>, key: i16, version: i16) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&maker.correlation_id().to_be_bytes());
    frame
}

fn unknown_version(maker: &mut Maker<'_>, keys: &[i16]) {
    let key = maker.random.pick(&[keys, &[18, 18, 3, 0, 1, 19]].concat());
    let Some((min, max)) = maker.world.versions.get(&key).copied() else { return };
    let version = maker.random.pick(ODD_VERSIONS);
    // A version that only one of the two serves is told of by ApiVersions.
    let near = i32::from(min) - 3..=i32::from(max) + 3;
    if near.contains(&i32::from(version)) {
        return;
    }
    let mut frame = raw_header(maker, key, version);
    frame.extend_from_slice(&[0xff, 0xff, 0, 0, 0, 0]);
    let label = format!("key {key} in version {version}");
    let mut request = Request::new(key, version, maker.correlation_id(), frame, label);
    request.reply_version = 0;
    maker.push(request);
}

fn unknown_key(maker: &mut Maker<'_>) {
    let key = maker.random.pick(ODD_KEYS);
    let mut frame = raw_header(maker, key, 0);
    frame.extend_from_slice(&[0xff, 0xff, 0, 0]);
    maker.push(Request::new(key, 0, maker.correlation_id(), frame, format!("unknown key {key}")));
}

fn header(maker: &mut Maker<'_>, shape: &'static Shape, version: i16, body: &[u8]) {
    let flexible = version >= shape.flexible;
    let mut frame = raw_header(maker, shape.key, version);
    let (what, client): (&str, &[u8]) = maker.random.pick(&[
        ("no client id", &[0xff, 0xff][..]),
        ("an empty client id", &[0, 0]),
        ("a client id longer than the frame", &[0x7f, 0xff, b'x']),
        ("a header without a client id", &[]),
    ]);
    frame.extend_from_slice(client);
    if !client.is_empty() {
        if flexible {
            frame.push(0);
        }
        frame.extend_from_slice(body);
    }
    let label = format!("{} version {version}: {what}", shape.name);
    maker.push(Request::new(shape.key, version, maker.correlation_id(), frame, label));
}

fn length(maker: &mut Maker<'_>, shape: &'static Shape, version: i16, body: &[u8]) {
    let Ok(mut frame) = maker.frame(shape.key, version, body) else { return };
    let announced =
        maker.random.pick(&[-1, i32::MIN, i32::MAX, 104_857_601, 0, 1, 7, frame.len() as i32 + 10]);
    if (0..8).contains(&announced) {
        // No more than announced: what follows would be the next frame.
        frame.truncate(announced as usize);
    }
    let label = format!("{} version {version}: {} bytes announced as {announced}", shape.name, frame.len());
    let mut request = Request::new(shape.key, version, maker.correlation_id(), frame, label);
    request.length = announced;
    maker.push(request);
}
