//! Every file of the corpus, once through its target, with a stable toolchain.

use std::fs;
use std::path::Path;

/// A file is small, so that libFuzzer mutates it fast and a person can read it.
const LARGEST: u64 = 4096;
const MOST: usize = 60;

#[test]
fn every_file_of_the_corpus_passes_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in roletap_fuzz::TARGETS {
        let files: Vec<_> =
            fs::read_dir(corpus.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        assert!((1..=MOST).contains(&files.len()), "{name} has {} files", files.len());
        for file in files {
            println!("{}", file.display());
            let bytes = fs::read(&file).unwrap();
            assert!(bytes.len() as u64 <= LARGEST, "{} is large", file.display());
            target(&bytes);
        }
    }
    // Without the daemon's targets more is there.
    let all = fs::read_dir(&corpus).unwrap().count();
    assert!(
        all == roletap_fuzz::TARGETS.len() || !cfg!(feature = "daemon"),
        "a corpus without a target"
    );
}
