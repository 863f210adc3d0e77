//! An artifact that somebody else made.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use gated_deploy_lab::github::Artifact;

use crate::github::{CONTENT, artifact_11, built, bundle_name, fetched, refusal_of_content, sum_line, zip_of};

/// A zip of ours, to be damaged.
fn good() -> Vec<u8> {
    let (name, sum) = (bundle_name(), sum_line(&CONTENT));
    zip_of(&[(&name, &CONTENT), (&format!("{name}.sha256"), sum.as_bytes())])
}

/// Where the record of an entry begins in the central directory (APPNOTE 4.3.12).
fn records(zip: &[u8]) -> Vec<usize> {
    (0..zip.len() - 4).filter(|at| &zip[*at..*at + 4] == b"PK\x01\x02").collect()
}

/// One entry more, under the name of the first one but for its first letter; then that is made the same.
fn with_a_double() -> Vec<u8> {
    let (name, sum) = (bundle_name(), sum_line(&CONTENT));
    let double = name.replacen('d', "D", 1);
    let mut zip = zip_of(&[(&name, &CONTENT), (&format!("{name}.sha256"), sum.as_bytes()), (&double, b"another")]);
    let places: Vec<usize> =
        (0..zip.len() - double.len()).filter(|at| &zip[*at..*at + double.len()] == double.as_bytes()).collect();
    assert_eq!(places.len(), 2, "its own header and the directory");
    for place in places {
        zip[place] = b'd';
    }
    zip
}

#[tokio::test]
async fn f27_an_entry_that_is_there_twice_is_refused() {
    let cause = refusal_of_content(with_a_double()).await;
    assert!(cause.ends_with("exists twice"), "{cause}");
}

#[tokio::test]
async fn f27_an_encrypted_entry_and_a_link_are_refused() {
    let mut zip = good();
    let record = records(&zip)[0];
    zip[record + 8] |= 1;
    let cause = refusal_of_content(zip).await;
    assert!(cause.ends_with("is encrypted"), "{cause}");

    let mut zip = good();
    let record = records(&zip)[0];
    // Made on Unix, with the mode of a symbolic link.
    zip[record + 5] = 3;
    zip[record + 38..record + 42].copy_from_slice(&(0o120_777_u32 << 16).to_le_bytes());
    let cause = refusal_of_content(zip).await;
    assert!(cause.ends_with("is a symbolic link"), "{cause}");
}

#[tokio::test]
async fn f27_a_zip_of_very_many_files_is_refused_in_no_time() {
    let (name, sum) = (bundle_name(), sum_line(&CONTENT));
    let beside = format!("{name}.sha256");
    let names: Vec<String> = (0..3000).map(|number| format!("x/{number}")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![(&name, &CONTENT), (&beside, sum.as_bytes())];
    files.extend(names.iter().map(|name| (name.as_str(), &b""[..])));
    let zip = zip_of(&files);
    let began = Instant::now();
    assert_eq!(refusal_of_content(zip).await, "it contains 3002 files; at most 1000 are expected");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    // A directory that announces more than there is.
    let mut zip = good();
    let end = zip.len() - 22;
    assert_eq!(&zip[end..end + 4], b"PK\x05\x06");
    zip[end + 8..end + 12].fill(0xfe);
    let cause = refusal_of_content(zip).await;
    assert!(cause.contains("the zip cannot be read") || cause.contains("files; at most"), "{cause}");
}

/// What the directory says of sizes is not believed.
#[tokio::test]
async fn f27_an_entry_that_lies_about_its_size_is_refused() {
    for (declared, compressed) in [(5_u32, None), (u32::MAX - 1, None), (5, Some(5)), (1 << 20, Some(1))] {
        let mut zip = good();
        let record = records(&zip)[0];
        zip[record + 24..record + 28].copy_from_slice(&declared.to_le_bytes());
        if let Some(compressed) = compressed {
            zip[record + 20..record + 24].copy_from_slice(&u32::to_le_bytes(compressed));
        }
        let cause = refusal_of_content(zip).await;
        assert!(cause.contains(&bundle_name()), "{declared}, {compressed:?}: {cause}");
    }
}

/// A zip without an end, wherever it was cut: no run goes on with what is left of it.
#[tokio::test]
async fn f18_a_zip_that_is_cut_anywhere_is_refused() {
    let whole = good();
    let step = (whole.len() / 60).max(1);
    for length in (0..whole.len()).step_by(step).chain(whole.len() - 30..whole.len()) {
        let github = built();
        github.add_artifact(Artifact { content: whole[..length].to_vec().into(), ..artifact_11() });
        let ran = fetched(&github).await;
        assert_ne!(ran.outcome.exit_code(), 0, "cut after {length} of {} bytes", whole.len());
        assert!(ran.state.bundle.is_none(), "cut after {length} of {} bytes", whole.len());
    }
}

/// Any bit of it: what is taken is what GitHub and the .sha256 have, or nothing.
#[tokio::test]
async fn f27_a_zip_with_one_wrong_bit_is_refused_or_gives_the_same_bundle() {
    let whole = good();
    let step = (whole.len() / 100).max(1);
    for at in (0..whole.len()).step_by(step) {
        let mut bent = whole.clone();
        bent[at] ^= 1 << (at % 8);
        let github = built();
        github.add_artifact(Artifact { content: bent.into(), ..artifact_11() });
        let ran = fetched(&github).await;
        if let Some(bundle) = &ran.state.bundle {
            assert_eq!(bundle.sha256, gated_deploy::domain::Sha256Digest::of(&*CONTENT), "byte {at}");
        }
    }
}

/// Larger files than 4 GiB and more entries than 65,535 need other records (APPNOTE 4.3.14); tools write them for small files too.
#[tokio::test]
async fn a_zip_with_64_bit_records_is_read() {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let (name, sum) = (bundle_name(), sum_line(&CONTENT));
    let large = zip::write::SimpleFileOptions::default().large_file(true);
    for (name, bytes) in [(name.clone(), &**CONTENT), (format!("{name}.sha256"), sum.as_bytes())] {
        zip.start_file(name, large).expect("an entry");
        zip.write_all(bytes).expect("its bytes");
    }
    let zip = zip.finish().expect("a zip").into_inner();
    assert!(zip.windows(4).any(|four| four == [1, 0, 16, 0]), "the extra field of APPNOTE 4.5.3");
    let github = built();
    github.add_artifact(Artifact { content: zip.into(), ..artifact_11() });
    let ran = fetched(&github).await;
    assert!(ran.state.bundle.is_some(), "{}", ran.failure());
}

/// Where an entry's own header begins (APPNOTE 4.3.7).
fn headers(zip: &[u8]) -> Vec<usize> {
    (0..zip.len() - 4).filter(|at| &zip[*at..*at + 4] == b"PK\x03\x04").collect()
}

fn number(zip: &[u8], at: usize) -> usize {
    u32::from_le_bytes(zip[at..at + 4].try_into().expect("four bytes")) as usize
}

fn set(zip: &mut [u8], at: usize, number: usize) {
    zip[at..at + 4].copy_from_slice(&u32::try_from(number).expect("it is small").to_le_bytes());
}

/// Puts bytes where no entry owns them, and moves everything behind them so that the list still finds it.
fn with_bytes_at(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut zip = good();
    let end = zip.len() - 22;
    for record in records(&zip) {
        let header = number(&zip, record + 42);
        if header >= at {
            set(&mut zip, record + 42, header + bytes.len());
        }
    }
    let list = number(&zip, end + 16);
    if list >= at {
        set(&mut zip, end + 16, list + bytes.len());
    }
    zip.splice(at..at, bytes.iter().copied());
    zip
}

/// SE2, for the zip: what no entry owns is another archive for somebody.
#[tokio::test]
async fn se2_bytes_of_a_zip_that_no_entry_owns_are_refused() {
    let whole = good();
    let (second, list) = (headers(&whole)[1], records(&whole)[0]);
    let end = whole.len() - 22;
    let cases = [
        (second, &b"hidden for good"[..], "is followed by data that is not an entry"),
        (second, b"x", "has other sizes after it"),
        (list, b"hidden for good", "is followed by data that is not an entry"),
        (list, b"hidden", "has other sizes after it"),
        (end, b"hidden", "its list of entries is not at the declared position"),
        (whole.len(), b"hidden", "its end is missing"),
    ];
    for (at, bytes, why) in cases {
        let cause = refusal_of_content(with_bytes_at(at, bytes)).await;
        assert!(cause.contains(why), "{at}: {cause}");
    }
    // Self-extracting programs stand in front; this one begins like a zip.
    let front = &whole[..second];
    let cause = refusal_of_content(with_bytes_at(0, front)).await;
    assert_eq!(cause, "there is data before its first entry");
    // A comment, in which other programs would look for an end.
    let mut zip = whole.clone();
    zip[end + 20] = 22;
    zip.extend_from_slice(&whole[end..]);
    let cause = refusal_of_content(zip).await;
    assert!(cause.contains("its end is missing") || cause.contains("not at the declared position"), "{cause}");
}

/// Streaming programs believe the headers, others the list.
#[tokio::test]
async fn se2_a_header_that_contradicts_the_list_of_entries_is_refused() {
    let whole = good();
    let (header, record) = (headers(&whole)[0], records(&whole)[0]);
    let behind = number(&whole, record + 20) + 30 + bundle_name().len();
    let cases = [
        (header + 6, "differs from the list of entries"),
        (header + 8, "differs from the list of entries"),
        (header + 30, "differs from the list of entries"),
        (header + 14, "with other sizes"),
        (header + 18, "with other sizes"),
        (header + 22, "with other sizes"),
        (behind + 4, "other sizes after it"),
        (behind + 8, "other sizes after it"),
        (behind + 12, "other sizes after it"),
        (record + 10, "differs from the list of entries"),
        (record + 46, "differs from the list of entries"),
        (record + 42, "there is data before its first entry"),
    ];
    for (at, why) in cases {
        let mut zip = whole.clone();
        zip[at] ^= 2;
        let cause = refusal_of_content(zip).await;
        assert!(cause.contains(why) || cause.contains("the method 10"), "byte {at}: {cause}");
    }
    for (flags, why) in [(1_u8 << 5, "some are not supported"), (1 << 6, "some are not supported")] {
        let mut zip = whole.clone();
        zip[header + 6] |= flags;
        zip[record + 8] |= flags;
        let cause = refusal_of_content(zip).await;
        assert!(cause.contains(why), "{cause}");
    }
}

/// Behind the end of the compressed data, but within what the entry owns.
#[tokio::test]
async fn se2_bytes_behind_an_entrys_compressed_data_are_refused() {
    let whole = good();
    let record = records(&whole)[0];
    let packed = number(&whole, record + 20);
    let mut zip = with_bytes_at(30 + bundle_name().len() + packed, b"hidden");
    let record = records(&zip)[0];
    set(&mut zip, record + 20, packed + 6);
    let behind = 30 + bundle_name().len() + packed + 6;
    set(&mut zip, behind + 8, packed + 6);
    let cause = refusal_of_content(zip).await;
    assert!(cause.contains("there is data after its compressed data"), "{cause}");
}
