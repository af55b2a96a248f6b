//! What comes out of each codec is what went in, whoever wrote it, and never more than the bound.

use std::io::Read;

use super::*;

fn read_all(codec: Compression, compressed: &[u8], limit: u64) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    open(codec, compressed, limit)?.read_to_end(&mut out).map_err(|cause| read_failed(codec, &cause))?;
    Ok(out)
}

/// Bytes that compress in different ways: not at all, in runs, with near and with far references.
fn samples() -> Vec<Vec<u8>> {
    let mut state = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(150_000)
    .collect();
    let mixed = noise.chunks(50).flat_map(|piece| [piece, &piece[..20], &[0; 90], piece].concat()).collect();
    let far = [&noise[..40_000], &noise[..40_000], &noise[..9], &noise[20_000..40_000]].concat();
    vec![Vec::new(), vec![1], vec![5; 200_000], b"abc".repeat(50_000), noise, mixed, far]
}

#[test]
fn every_codec_gives_back_what_it_was_given() {
    for codec in Compression::ALL {
        for sample in samples() {
            let compressed = compress(codec, &sample).unwrap();
            assert!(
                read_all(codec, &compressed, u64::MAX).unwrap() == sample,
                "{codec}, {} bytes",
                sample.len()
            );
            assert!(
                read_all(codec, &compressed, sample.len() as u64).unwrap() == sample,
                "{codec} at its bound"
            );
            if let Some(less) = (sample.len() as u64).checked_sub(1) {
                let error = read_all(codec, &compressed, less).unwrap_err();
                assert_eq!(error, BatchError::DecompressedTooLarge { codec, limit: less });
            }
        }
    }
}

#[test]
fn raw_snappy_blocks_are_read_as_the_reference_decoder_reads_them() {
    for sample in samples() {
        let raw = snap::raw::Encoder::new().compress_vec(&sample).unwrap();
        assert!(read_all(Compression::Snappy, &raw, u64::MAX).unwrap() == sample, "{} bytes", sample.len());
    }
}

#[test]
fn a_snappy_copy_may_reach_back_to_the_start_of_a_large_block() {
    // As franz-go writes them: one block, and offsets of four bytes.
    let sample = &samples()[4];
    let literal = &sample[..100_000];
    let mut block = Vec::new();
    let mut left = literal.len() + 64;
    while left >= 0x80 {
        block.push(left as u8 | 0x80);
        left >>= 7;
    }
    block.push(left as u8);
    block.push(62 << 2); // a literal whose length takes three bytes
    block.extend_from_slice(&(literal.len() as u32 - 1).to_le_bytes()[..3]);
    block.extend_from_slice(literal);
    block.push(63 << 2 | 3); // a copy of 64 bytes
    block.extend_from_slice(&(literal.len() as u32).to_le_bytes());
    let expected = [literal, &literal[..64]].concat();
    assert!(snap::raw::Decoder::new().decompress_vec(&block).unwrap() == expected, "the reference reads it");
    assert!(read_all(Compression::Snappy, &block, u64::MAX).unwrap() == expected);
}

#[test]
fn a_snappy_copy_beyond_the_window_is_refused() {
    let far: usize = 9 << 20;
    // A block of 11 MiB that begins with one byte.
    let mut block = vec![0x80, 0x80, 0xc0, 0x05, 0, 7];
    // A run: copies of 64 bytes from one byte back.
    for _ in 0..far / 64 {
        block.extend_from_slice(&[63 << 2 | 2, 1, 0]);
    }
    block.push(63 << 2 | 3);
    block.extend_from_slice(&(far as u32).to_le_bytes());
    let error = read_all(Compression::Snappy, &block, u64::MAX).unwrap_err().to_string();
    assert!(error.contains("further than 8 MiB"), "{error}");
}

#[test]
fn snappy_streams_that_were_appended_to_each_other_are_one() {
    let [first, second] = [b"first".repeat(9_000), b"second".repeat(9_000)];
    let both = [snappy::compress_framed(&first).unwrap(), snappy::compress_framed(&second).unwrap()].concat();
    assert!(read_all(Compression::Snappy, &both, u64::MAX).unwrap() == [first, second].concat());
}

#[test]
fn snappy_elements_that_lie_are_refused() {
    let cases: [(&[u8], &str); 7] = [
        (&[5, 0x08, b'a'], "ends inside"),
        (&[1, 0x04, b'a', b'b'], "longer than it says"),
        (&[3, 0x04, b'a', b'b', 0x00], "ends inside"),
        (&[6, 0x04, b'a', b'b', 0x01, 0x03], "reaches back"),
        (&[6, 0x04, b'a', b'b', 0x01, 0x00], "reaches back"),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "more than five bytes"),
        (
            &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 1],
            "ends inside",
        ),
    ];
    for (bytes, expected) in cases {
        let error = read_all(Compression::Snappy, bytes, 1 << 20).unwrap_err().to_string();
        assert!(error.contains(expected), "{bytes:?}: {error}");
    }
}

#[test]
fn lz4_frames_of_every_shape_that_java_reads_are_read_and_others_are_refused() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    for sample in samples() {
        for block_size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
            for (mode, checksums) in
                [(BlockMode::Linked, false), (BlockMode::Independent, true), (BlockMode::Independent, false)]
            {
                let info = FrameInfo::new()
                    .block_size(block_size)
                    .block_mode(mode)
                    .block_checksums(checksums)
                    .content_checksum(checksums)
                    .content_size(checksums.then_some(sample.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(&sample).unwrap();
                let frame = encoder.finish().unwrap();
                let read = read_all(Compression::Lz4, &frame, u64::MAX);
                if mode == BlockMode::Linked {
                    assert!(read.unwrap_err().to_string().contains("independent blocks"));
                } else {
                    assert!(read.unwrap() == sample);
                }
            }
        }
    }
}

#[test]
fn several_gzip_members_are_one_stream() {
    let both =
        [compress(Compression::Gzip, b"one").unwrap(), compress(Compression::Gzip, b"two").unwrap()].concat();
    assert_eq!(read_all(Compression::Gzip, &both, 6).unwrap(), b"onetwo");
}
