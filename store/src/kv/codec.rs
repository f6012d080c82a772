//! Bytes of a log record and of the values in `records`.
//!
//! ```text
//! log      sequence u64, big-endian -> payload bytes u32 | crc32 u32 | kind u8 | payload
//! payload  per operation: tag u8 | key bytes u16 | key | of a put also: value bytes u32 | crc32 of the value u32
//! records  key -> sequence u64 | crc32 u32 | the value's bytes
//! ```
//!
//! The checksum of a log record covers its sequence, and through the checksums of the values everything that it wrote. The
//! checksum of a value covers its key and its sequence, so that neither an old value nor one of another key passes for it.
//! Pure: bytes in, bytes out.

use super::KvError;

/// Longest key in bytes. Keys stand in every index block; one page is far above any name or hash.
pub const KEY_BYTES_MAX: usize = 4_096;
/// Longest value in bytes: it is held in memory several times while it is written. What is larger belongs into a file.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Most operations of one batch.
pub const BATCH_OPERATIONS_MAX: usize = 65_536;
/// Most bytes of keys and values of one batch: it is one record of RocksDB's log and is replayed from memory.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// Sequence and checksum in front of a value.
pub(super) const VALUE_HEADER_BYTES: usize = 12;
/// Length, checksum and kind in front of a payload.
const LOG_HEADER_BYTES: usize = 9;
/// Kind of a log record whose payload is operations on `records`.
const KIND_RECORDS: u8 = 1;
const TAG_PUT: u8 = 1;
const TAG_DELETE: u8 = 2;
/// Tag, key bytes and value bytes in front of an operation in a [`Batch`].
const OPERATION_HEADER_BYTES: usize = 7;

/// Puts and deletes that become visible and durable together or not at all. Of two operations on one key the later wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Per operation: tag u8 | key bytes u16 | value bytes u32 | key | of a put also: room for the header, value. So a value
    /// is copied once, and header and value are one slice when they are written.
    bytes: Vec<u8>,
    operation_count: usize,
}

impl Batch {
    /// A batch without operations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a put.
    ///
    /// # Errors
    /// [`KvError::Bound`] (E1006): a key beyond [`KEY_BYTES_MAX`], a value beyond [`VALUE_BYTES_MAX`], or a batch beyond
    /// [`BATCH_OPERATIONS_MAX`] or [`BATCH_BYTES_MAX`]; the batch is then as before.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.begin(TAG_PUT, key, value.len())?;
        self.bytes.extend_from_slice(&[0; VALUE_HEADER_BYTES]);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    /// Adds a delete; a key that is not there is no error.
    ///
    /// # Errors
    /// As for [`Batch::put`].
    pub fn delete(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.begin(TAG_DELETE, key, 0)
    }

    fn begin(&mut self, tag: u8, key: &[u8], value_bytes: usize) -> Result<(), KvError> {
        bound("key", key.len(), KEY_BYTES_MAX)?;
        bound("value", value_bytes, VALUE_BYTES_MAX)?;
        bound("operations of a batch", self.operation_count + 1, BATCH_OPERATIONS_MAX)?;
        let added = OPERATION_HEADER_BYTES + key.len() + VALUE_HEADER_BYTES + value_bytes;
        bound("batch", self.bytes.len() + added, BATCH_BYTES_MAX)?;
        // A single put is one allocation.
        self.bytes.reserve(added);
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(&(value_bytes as u32).to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.operation_count += 1;
        Ok(())
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operation_count
    }

    /// Whether there is no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operation_count == 0
    }

    /// Bytes of keys, values and headers.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The checksum that the log record of this batch has if it is written under `sequence`: what
    /// [`Ack::crc`](super::Ack::crc) answers. Costs a copy of the batch.
    #[must_use]
    pub fn crc_at(&self, sequence: u64) -> u32 {
        self.clone().seal(sequence, &mut Vec::new())
    }

    /// Writes sequence and checksums into the batch, its log record into `log_value`, and answers that record's checksum.
    pub(super) fn seal(&mut self, sequence: u64, log_value: &mut Vec<u8>) -> u32 {
        log_value.clear();
        log_value.resize(LOG_HEADER_BYTES, 0);
        let mut at = 0;
        while at < self.bytes.len() {
            let place = place(&self.bytes, at);
            let (head, stored) = self.bytes.split_at_mut(place.value_at);
            let key = &head[place.key_at..place.value_at];
            log_value.push(head[at]);
            log_value.extend_from_slice(&(key.len() as u16).to_le_bytes());
            log_value.extend_from_slice(key);
            if head[at] == TAG_PUT {
                let (header, value) = stored[..place.next - place.value_at].split_at_mut(VALUE_HEADER_BYTES);
                let crc = value_crc(sequence, key, value);
                header[..8].copy_from_slice(&sequence.to_le_bytes());
                header[8..].copy_from_slice(&crc.to_le_bytes());
                log_value.extend_from_slice(&(value.len() as u32).to_le_bytes());
                log_value.extend_from_slice(&crc.to_le_bytes());
            }
            at = place.next;
        }
        let payload_bytes = (log_value.len() - LOG_HEADER_BYTES) as u32;
        let crc = log_crc(sequence, KIND_RECORDS, &log_value[LOG_HEADER_BYTES..]);
        log_value[..4].copy_from_slice(&payload_bytes.to_le_bytes());
        log_value[4..8].copy_from_slice(&crc.to_le_bytes());
        log_value[8] = KIND_RECORDS;
        crc
    }

    /// Key, and for a put header and value, of each operation. The headers are right after [`Batch::seal`].
    pub(super) fn operations(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            (at < self.bytes.len()).then(|| {
                let place = place(&self.bytes, at);
                let is_put = self.bytes[at] == TAG_PUT;
                at = place.next;
                let key = &self.bytes[place.key_at..place.value_at];
                (key, is_put.then(|| &self.bytes[place.value_at..place.next]))
            })
        })
    }
}

fn bound(what: &'static str, found: usize, limit: usize) -> Result<(), KvError> {
    if found > limit { Err(KvError::Bound { what, found, limit }) } else { Ok(()) }
}

struct Place {
    key_at: usize,
    value_at: usize,
    next: usize,
}

/// Where the parts of the operation at `at` are. The bytes are our own, written by `begin`.
fn place(bytes: &[u8], at: usize) -> Place {
    let key_bytes = usize::from(u16::from_le_bytes([bytes[at + 1], bytes[at + 2]]));
    let value_bytes =
        u32::from_le_bytes([bytes[at + 3], bytes[at + 4], bytes[at + 5], bytes[at + 6]]) as usize;
    let key_at = at + OPERATION_HEADER_BYTES;
    let value_at = key_at + key_bytes;
    let header_bytes = if bytes[at] == TAG_PUT { VALUE_HEADER_BYTES } else { 0 };
    Place { key_at, value_at, next: value_at + header_bytes + value_bytes }
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its number; rises by write, gaps are writes that did not last.
    pub sequence: u64,
    /// Its checksum, as the write's [`Ack`](super::Ack) had it.
    pub crc: u32,
    /// What it did, in order.
    pub changes: Vec<Change>,
}

/// One operation of a log record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// Bytes and checksum of the value that was put; `None` for a delete.
    pub put: Option<(u32, u32)>,
}

/// The log record under `key`, or what is wrong with it.
pub(super) fn decode_log(key: &[u8], value: &[u8]) -> Result<LogRecord, String> {
    let sequence = <[u8; 8]>::try_from(key)
        .map(u64::from_be_bytes)
        .map_err(|_| format!("a key of {} bytes, expected 8", key.len()))?;
    let wrong = |what: &str| format!("log record {sequence}: {what}");
    let (header, payload) =
        value.split_first_chunk::<LOG_HEADER_BYTES>().ok_or_else(|| wrong("its head is cut off"))?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if number(0) as usize != payload.len() {
        return Err(wrong(&format!("{} bytes of payload, expected {}", payload.len(), number(0))));
    }
    let (crc, kind) = (number(4), header[8]);
    if crc != log_crc(sequence, kind, payload) {
        return Err(wrong("checksum differs"));
    }
    if kind != KIND_RECORDS {
        return Err(wrong(&format!("kind {kind} is not known to this version")));
    }
    let changes =
        decode_changes(payload).ok_or_else(|| wrong("an operation is cut off, or beyond its bounds"))?;
    Ok(LogRecord { sequence, crc, changes })
}

fn decode_changes(mut payload: &[u8]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    while let Some((&tag, rest)) = payload.split_first() {
        let (key_bytes, rest) = rest.split_first_chunk::<2>()?;
        let key_bytes = usize::from(u16::from_le_bytes(*key_bytes));
        let (key, rest) = rest.split_at_checked(key_bytes).filter(|(key, _)| key.len() <= KEY_BYTES_MAX)?;
        let (put, rest) = match tag {
            TAG_PUT => {
                let (value_bytes, rest) = rest.split_first_chunk::<4>()?;
                let (crc, rest) = rest.split_first_chunk::<4>()?;
                let value_bytes = u32::from_le_bytes(*value_bytes);
                (value_bytes as usize <= VALUE_BYTES_MAX).then_some(())?;
                (Some((value_bytes, u32::from_le_bytes(*crc))), rest)
            }
            TAG_DELETE => (None, rest),
            _ => return None,
        };
        changes.push(Change { key: key.to_vec(), put });
        payload = rest;
    }
    Some(changes)
}

/// Sequence, checksum and bytes of a value in `records`, or `None` if they are not what was written under `key`.
pub(super) fn decode_value<'a>(key: &[u8], stored: &'a [u8]) -> Option<(u64, u32, &'a [u8])> {
    let (sequence, rest) = stored.split_first_chunk::<8>()?;
    let (crc, value) = rest.split_first_chunk::<4>()?;
    let (sequence, crc) = (u64::from_le_bytes(*sequence), u32::from_le_bytes(*crc));
    (crc == value_crc(sequence, key, value)).then_some((sequence, crc, value))
}

fn value_crc(sequence: u64, key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.to_le_bytes());
    hasher.update(&(key.len() as u16).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

fn log_crc(sequence: u64, kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.to_be_bytes());
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let mut batch = Batch::new();
        batch.put(b"key", b"value").unwrap();
        batch.delete(b"").unwrap();
        batch.put(b"", b"").unwrap();
        batch
    }

    #[test]
    fn what_is_sealed_is_read_back() {
        let mut batch = batch();
        let mut log = Vec::new();
        let crc = batch.seal(7, &mut log);
        let record = decode_log(&7_u64.to_be_bytes(), &log).unwrap();
        assert_eq!((record.sequence, record.crc, batch.crc_at(7)), (7, crc, crc));
        let keys: Vec<&[u8]> = record.changes.iter().map(|change| change.key.as_slice()).collect();
        assert_eq!(keys, [b"key".as_slice(), b"", b""]);
        let stored: Vec<_> = batch.operations().collect();
        let (sequence, value_crc, value) = decode_value(b"key", stored[0].1.unwrap()).unwrap();
        assert_eq!((sequence, value), (7, b"value".as_slice()));
        assert_eq!(record.changes[0].put, Some((5, value_crc)));
        assert_eq!((record.changes[1].put, stored[1].1), (None, None));
        assert_eq!(decode_value(b"", stored[2].1.unwrap()).unwrap().2, b"");
        assert_ne!(batch.crc_at(8), crc);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut batch = batch();
        let mut log = Vec::new();
        batch.seal(7, &mut log);
        let stored = batch.operations().next().unwrap().1.unwrap().to_vec();
        for bit in 0..log.len() * 8 {
            let mut wrong = log.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_log(&7_u64.to_be_bytes(), &wrong).is_err(), "bit {bit} of the log record");
        }
        for bit in 0..stored.len() * 8 {
            let mut wrong = stored.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_value(b"key", &wrong).is_none(), "bit {bit} of the value");
        }
        assert!(decode_value(b"kez", &stored).is_none() && decode_value(b"key", &stored[..11]).is_none());
        assert!(decode_log(&8_u64.to_be_bytes(), &log).is_err() && decode_log(b"7", &log).is_err());
        assert!(decode_log(&7_u64.to_be_bytes(), &log[..8]).is_err());
    }

    /// A log record with a right checksum over whatever its fields say.
    fn logged(payload_bytes: u32, payload: &[u8]) -> Vec<u8> {
        let mut record = payload_bytes.to_le_bytes().to_vec();
        record.extend(log_crc(7, KIND_RECORDS, payload).to_le_bytes());
        record.push(KIND_RECORDS);
        record.extend(payload);
        record
    }

    #[test]
    fn absurd_lengths_are_damage_even_under_a_right_checksum() {
        let key = 7_u64.to_be_bytes();
        let put = |key_bytes: u16, value_bytes: u32| {
            let mut payload = vec![TAG_PUT];
            payload.extend(key_bytes.to_le_bytes());
            payload.extend(b"key");
            payload.extend(value_bytes.to_le_bytes());
            payload.extend([0; 4]);
            payload
        };
        let good = put(3, 5);
        assert!(decode_log(&key, &logged(good.len() as u32, &good)).is_ok());
        for bytes in [0, good.len() as u32 - 1, good.len() as u32 + 1, 1 << 31, u32::MAX] {
            let said = decode_log(&key, &logged(bytes, &good)).unwrap_err();
            assert!(said.contains("log record 7") && said.contains("payload"), "{said}");
        }
        for bytes in [4, 5, 100, u16::MAX] {
            let payload = put(bytes, 5);
            let said = decode_log(&key, &logged(payload.len() as u32, &payload)).unwrap_err();
            assert!(said.contains("cut off"), "key of {bytes}: {said}");
        }
        for bytes in [VALUE_BYTES_MAX as u32 + 1, u32::MAX] {
            let payload = put(3, bytes);
            let said = decode_log(&key, &logged(payload.len() as u32, &payload)).unwrap_err();
            assert!(said.contains("cut off"), "value of {bytes}: {said}");
        }
        let mut payload = vec![TAG_PUT];
        payload.extend((KEY_BYTES_MAX as u16 + 1).to_le_bytes());
        payload.extend(vec![0; KEY_BYTES_MAX + 1 + 8]);
        assert!(decode_log(&key, &logged(payload.len() as u32, &payload)).is_err());
        for tag in [0, 3, 255] {
            assert!(decode_log(&key, &logged(3, &[tag, 0, 0])).is_err());
        }
    }

    #[test]
    fn bounds_are_named_and_leave_the_batch_as_it_was() {
        let mut batch = batch();
        let before = batch.clone();
        for (key, value, word) in
            [(vec![0; KEY_BYTES_MAX + 1], vec![], "key"), (vec![], vec![0; VALUE_BYTES_MAX + 1], "value")]
        {
            let error = batch.put(&key, &value).unwrap_err();
            assert_eq!(error.code(), "E1006");
            assert!(error.to_string().contains(word), "{error}");
        }
        assert_eq!(batch, before);
        batch.put(&[1; KEY_BYTES_MAX], &[2; VALUE_BYTES_MAX]).unwrap();
        batch.put(&[1; KEY_BYTES_MAX], &[2; VALUE_BYTES_MAX]).unwrap();
        batch.put(&[1; KEY_BYTES_MAX], &[2; VALUE_BYTES_MAX]).unwrap();
        assert!(batch.put(&[], &[2; VALUE_BYTES_MAX]).unwrap_err().to_string().contains("batch"));
        let mut batch = Batch::new();
        for _ in 0..BATCH_OPERATIONS_MAX {
            batch.delete(b"a").unwrap();
        }
        assert!(batch.delete(b"a").unwrap_err().to_string().contains("operations"));
    }
}
