use super::*;

fn round(entries: &[(Target, &[u8])]) -> BytesMut {
    let mut frame = frame(entries.iter().map(|(_, bytes)| ENTRY_BYTES + bytes.len()).sum());
    for (target, bytes) in entries {
        put_entry(*target, bytes.len(), &mut frame);
        frame.put_slice(bytes);
    }
    frame
}

fn target(log: u64, position: u64) -> Target {
    Target { log, base: 0, position }
}

fn replayed(folder: &Path) -> Vec<(u64, Vec<u8>)> {
    replay(folder).unwrap().into_iter().map(|(target, bytes)| (target.log, bytes.to_vec())).collect()
}

#[test]
fn replays_rounds_in_order_over_both_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut wal = Wal::open(folder.path(), 5).unwrap();
    wal.commit(&mut round(&[(target(1, 0), b"a"), (target(2, 0), b"b")])).unwrap();
    wal.commit(&mut round(&[(target(1, 1), b"c")])).unwrap();
    wal.switch();
    wal.commit(&mut round(&[(target(3, 0), b"d")])).unwrap();
    assert_eq!(
        replayed(folder.path()),
        [(1, b"a".to_vec()), (2, b"b".to_vec()), (1, b"c".to_vec()), (3, b"d".to_vec())]
    );
    wal.switch();
    wal.commit(&mut round(&[(target(4, 0), b"e")])).unwrap();
    assert_eq!(
        replayed(folder.path()),
        [(3, b"d".to_vec()), (4, b"e".to_vec())],
        "older frames of the file are stale"
    );
}

#[test]
fn stops_at_a_torn_or_damaged_frame() {
    let folder = tempfile::tempdir().unwrap();
    let mut wal = Wal::open(folder.path(), 1).unwrap();
    wal.commit(&mut round(&[(target(1, 0), b"first")])).unwrap();
    let good = wal.position;
    wal.commit(&mut round(&[(target(1, 5), b"second")])).unwrap();
    let end = wal.position;
    for at in good..end {
        let file = OpenOptions::new().read(true).write(true).open(folder.path().join("wal.0")).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
        assert_eq!(replayed(folder.path()), [(1, b"first".to_vec())], "damage at {at}");
        file.write_all_at(&byte, at).unwrap();
    }
}

/// Whether past the page cache or through it, a frame is found again; also one that does not lie as it should.
#[test]
fn frames_are_whole_units_wherever_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    let mut wal = Wal::open(folder.path(), 1).unwrap();
    wal.commit(&mut round(&[(target(1, 0), &[1; 700])])).unwrap();
    assert_eq!(wal.position, 2 * UNIT as u64);
    let mut astray = BytesMut::with_capacity(4 * UNIT);
    let skipped = astray.as_ptr().align_offset(UNIT) + 1;
    astray.resize(skipped, 0);
    astray.extend_from_slice(&round(&[(target(2, 0), &[2; 100])]));
    let mut astray = astray.split_off(skipped);
    wal.commit(&mut astray).unwrap();
    wal.files[0].direct = None;
    wal.commit(&mut round(&[(target(3, 0), &[3; 10])])).unwrap();
    let found = [(1, vec![1; 700]), (2, vec![2; 100]), (3, vec![3; 10])];
    assert_eq!(replayed(folder.path()), found);
}
