//! The shared library exports what the header declares, and nothing else.
#![cfg(target_os = "linux")]

#[path = "common/cc.rs"]
mod cc;
#[path = "common/header_text.rs"]
mod header_text;

use std::collections::BTreeSet;
use std::fs;

use object::elf::{DF_1_NODELETE, DT_FLAGS_1, DT_SONAME, FileHeader64};
use object::read::elf::{Dyn, ElfFile, FileHeader};
use object::{Endianness, Object, ObjectSymbol};

type Elf<'data> = ElfFile<'data, FileHeader64<Endianness>>;

fn library() -> Vec<u8> {
    fs::read(cc::shared_library()).expect("the library can be read")
}

#[test]
fn exported_symbols_and_declared_functions_are_the_same() {
    let bytes = library();
    let symbols = Elf::parse(&*bytes).expect("an ELF library");
    let exported: BTreeSet<_> = symbols
        .dynamic_symbols()
        .filter(|symbol| !symbol.is_undefined())
        .map(|symbol| symbol.name().expect("a name").to_owned())
        .collect();
    let declared: BTreeSet<_> = header_text::functions().into_iter().map(|function| function.name).collect();
    let missing: Vec<_> = declared.difference(&exported).collect();
    let extra: Vec<_> = exported.difference(&declared).collect();
    assert!(missing.is_empty(), "in the header, but not exported: {missing:?}");
    assert!(extra.is_empty(), "exported, but not in the header (is its file in build.rs?): {extra:?}");
    assert!(exported.iter().all(|name| name.starts_with("esrpc_")));
}

#[test]
fn the_library_has_its_name_and_stays_loaded() {
    let bytes = library();
    let elf = Elf::parse(&*bytes).expect("an ELF library");
    let (endian, header) = (elf.endian(), elf.elf_header());
    let sections = header.sections(endian, &*bytes).expect("sections");
    let (entries, strings) = sections.dynamic(endian, &*bytes).expect("well-formed").expect("a dynamic section");
    let strings = sections.strings(endian, &*bytes, strings).expect("the names of the dynamic section");
    let value = |tag| entries.iter().find(|entry| entry.d_tag(endian) == tag).map(|entry| entry.d_val(endian));

    let name = value(DT_SONAME).and_then(|at| strings.get(at as u32).ok());
    assert_eq!(name, Some(&b"libeventstream_rpc.so.0"[..]));
    assert!(value(DT_FLAGS_1).is_some_and(|flags| flags & DF_1_NODELETE.0 != 0));
}
