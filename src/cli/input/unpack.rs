//! Opens a file or standard input, unpacks what is packed, whatever it is called, and counts what
//! it has read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::archive::is_standard;

/// Lines to read, from a thread of their own.
pub type Reader = Box<dyn BufRead + Send>;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTANDARD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Opens what `path` names; `read` counts bytes as they lie on the disk.
pub(super) fn open(path: &Path, read: &Arc<AtomicU64>) -> io::Result<Reader> {
    let count = Arc::clone(read);
    if is_standard(path) {
        let inner = io::stdin();
        return unpack(BufReader::new(Counted { inner, count }));
    }
    let inner = File::open(path)?;
    unpack(BufReader::new(Counted { inner, count }))
}

fn unpack(mut reader: impl BufRead + Send + 'static) -> io::Result<Reader> {
    let start = reader.fill_buf()?;
    if start.starts_with(GZIP) {
        // One file may hold several, one behind the other.
        let gzip = flate2::bufread::MultiGzDecoder::new(reader);
        return Ok(Box::new(BufReader::new(gzip)));
    }
    if start.starts_with(ZSTANDARD) {
        let zstandard = zstd::Decoder::with_buffer(reader)?;
        return Ok(Box::new(BufReader::new(zstandard)));
    }
    Ok(Box::new(reader))
}

struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn packed_is_known_by_what_it_is() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"one ").unwrap();
        let mut twice = gzip.finish().unwrap();
        twice.extend(twice.clone());
        let zstandard = zstd::encode_all(&b"two"[..], 0).unwrap();
        let check = |bytes: Vec<u8>, expect: &str| {
            let mut text = String::new();
            let mut reader = unpack(io::Cursor::new(bytes)).unwrap();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, expect);
        };
        check(twice, "one one ");
        check(zstandard, "two");
        check(b"three".to_vec(), "three");
        check(Vec::new(), "");
    }
}
