//! Every input of the corpora, without a fuzzer: under plain `cargo test`, and for coverage.

use std::fs;
use std::path::Path;

#[test]
fn every_input_of_the_corpora_is_taken() {
    let folders = std::env::var("FUZZ_CORPORA").unwrap_or_else(|_| "corpus".to_owned());
    for folder in folders.split_whitespace() {
        for (name, run) in eventstream_rpc_fuzz::TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
            let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let mut count = 0;
            for entry in entries {
                let path = entry.expect("a file").path();
                println!("{}", path.display());
                run(&fs::read(&path).expect("a file that can be read"));
                count += 1;
            }
            assert!(count > 0, "{} is empty", folder.display());
        }
    }
}
