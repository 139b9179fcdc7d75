//! esrpc-dump: messages in readable form, where damage is, and JSON to messages and back.

use super::callers::file;
use super::*;

/// Runs esrpc-dump on its standard input.
fn dump(options: &[&str], input: &[u8]) -> Ended {
    run_with_input(example("esrpc-dump", &[options, &["-"]].concat()), input)
}

/// The bytes that esrpc-dump makes of JSON.
fn encode(json: &str) -> Vec<u8> {
    let path = file("encoded.json", json);
    let encoded = example("esrpc-dump", &["--encode", &path]).output().expect("the program can be started");
    assert!(encoded.status.success(), "{json}: {}", String::from_utf8_lossy(&encoded.stderr));
    encoded.stdout
}

const LISTING: &str = r#"message 1, 30 bytes
         0  total length      30
         4  headers length    14
         8  prelude checksum  0x5d4adb8d
        12  header            "long" long -1
        26  message checksum  0x4bc232da
message 2, 98 bytes
        30  total length      98
        34  headers length    82
        38  prelude checksum  0x03b5cb9c
        42  header            "0" bool true
        45  header            "1" bool false
        48  header            "2" byte 2
        52  header            "3" short 3
        57  header            "4" integer 4
        64  header            "5" long 5
        75  header            "6" bytes base64 Ynl0ZXM=
        85  header            "7" string "utf8"
        94  header            "8" timestamp 8
       105  header            "9" uuid 30313233-3435-3637-3839-616263646566
       124  message checksum  0x63353671
"#;

#[test]
fn each_part_of_a_message_is_listed_with_its_offset() {
    let (input, _) = two_messages();
    let ended = dump(&[], &input);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), LISTING, ""));
    let nothing = dump(&[], b"");
    assert_eq!((nothing.code, nothing.out.as_str(), nothing.err.as_str()), (Some(0), "", ""));
}

#[test]
fn payloads_are_readable_and_long_ones_cut() {
    let json = encode(r#"{"type":"APPLICATION_MESSAGE","flags":2,"stream_id":1,"payload":"{\"a\": 1}"}"#);
    let listing = dump(&[], &json).out;
    for line in [
        r#"":message-type" integer 0 APPLICATION_MESSAGE"#,
        r#"":message-flags" integer 2 terminate_stream"#,
        "8 bytes of JSON\n            {\"a\": 1}\n",
    ] {
        assert!(listing.contains(line), "{line:?}: {listing}");
    }
    let bytes = dump(&[], &encode(r#"{"payload_base64":"AP9h"}"#)).out;
    assert!(bytes.contains("3 bytes\n            0000000c  00 ff 61"), "{bytes}");
    // An escape sequence would be obeyed by a terminal.
    let escapes = r#"{"headers":[{"name":"n","value":"\u001b[2J\u007f\u009b2J"}],"payload":"\u001b[2J\u007f\u009b2J"}"#;
    for options in [&[][..], &["--json"]] {
        let shown = dump(options, &encode(escapes)).out;
        assert_eq!(shown.matches(r"\u001b[2J\u007f\u009b2J").count(), 2, "{shown}");
    }
    let long = encode(&format!(r#"{{"payload":"{}"}}"#, "é".repeat(3000)));
    let cut = dump(&[], &long).out;
    assert!(cut.contains("... and 4000 bytes more: --all shows them"), "{cut}");
    assert!(dump(&["--all"], &long).out.contains(&"é".repeat(3000)));
}

#[test]
fn damage_is_reported_with_its_offset_and_what_comes_before_it_is_shown() {
    let (good, _) = two_messages();
    let first = LISTING.split_inclusive('\n').take(6).collect::<String>();
    let changed = |offset: usize, byte: u8| {
        let mut input = good.clone();
        input[offset] = byte;
        input
    };
    let cases = [
        (good[..50].to_vec(), "damaged at offset 50 (0x32)", "ESRPC_ERROR_INCOMPLETE"),
        (good[..35].to_vec(), "damaged at offset 35 (0x23)", "ESRPC_ERROR_INCOMPLETE"),
        (changed(31, 1), "damaged at offset 38 (0x26)", "ESRPC_ERROR_PRELUDE_CHECKSUM"),
        (changed(44, 99), "damaged at offset 44 (0x2c)", "ESRPC_ERROR_UNKNOWN_HEADER_TYPE"),
        (changed(88, 0xff), "damaged at offset 88 (0x58)", "ESRPC_ERROR_HEADER_OVERRUN"),
        (changed(100, 7), "damaged at offset 124 (0x7c)", "ESRPC_ERROR_MESSAGE_CHECKSUM"),
    ];
    for (input, place, status) in cases {
        let ended = dump(&[], &input);
        assert_eq!(ended.code, Some(FAILED), "{}", ended.err);
        assert!(ended.out.starts_with(&first), "{}", ended.out);
        let start = format!("esrpc-dump: standard input: message 2, which begins at offset 30, is {place}: ");
        assert!(ended.err.starts_with(&start) && ended.err.contains(status), "{start}: {}", ended.err);
        assert_eq!(dump(&["--json"], &input).code, Some(FAILED));
    }
}

#[test]
fn after_damage_the_next_whole_message_is_found() {
    let (good, _) = two_messages();
    let mut input = [&good[..], b"rubbish between messages", &good].concat();
    input[50] ^= 1;
    let ended = dump(&[], &input);
    assert!(ended.err.contains("the next message that is whole begins at offset 152: --recover"), "{}", ended.err);
    let recovered = dump(&["--recover", "--json"], &input);
    assert_eq!((recovered.code, recovered.out.lines().count()), (Some(FAILED), 3), "{}", recovered.err);
}

#[test]
fn a_file_of_another_kind_is_said_to_be_one() {
    let cases: &[(&[u8], &str)] = &[
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "\"HTTP/1.1 404 Not Found\"; it may be an HTTP response\n",
        ),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "89 50 4e 47 0d 0a 1a 0a 00 00 00 0d 49 48 44 52; it may be a PNG image\n"),
        (b"{}", "\"{}\"; it may be JSON: --encode makes messages of it\n"),
        (
            "h\u{e9}llo, this is a text of more than one line,\nwhich goes on".as_bytes(),
            "\"h\u{e9}llo, this is a text o\"\n",
        ),
        (b"\xff\xfe\0\n", "ff fe 00 0a\n"),
    ];
    for (input, beginning) in cases {
        for options in [&[][..], &["--json"]] {
            let ended = dump(options, input);
            assert_eq!((ended.code, ended.out.as_str()), (Some(FAILED), ""), "{}", ended.err);
            let start = "esrpc-dump: standard input does not look like event-stream messages: it begins with ";
            assert!(ended.err.starts_with(&format!("{start}{beginning}")), "{}", ended.err);
            assert!(!ended.err.contains("is damaged"), "{}", ended.err);
        }
    }
    // Behind rubbish there are messages, so that it is a damaged file of them; and a lone prelude begins one.
    let (good, _) = two_messages();
    for input in [[&b"HTTP/1.1 200 OK\r\n\r\n"[..], &good].concat(), good[..12].to_vec(), good[..3].to_vec()] {
        let ended = dump(&[], &input);
        assert_eq!(ended.code, Some(FAILED));
        assert!(!ended.err.contains("does not look like"), "{}", ended.err);
    }
    // A lone message whose prelude is damaged has lengths that make sense.
    for at in [3, 8] {
        let mut lone = encode(r#"{"payload":"x"}"#);
        lone[at] ^= 1;
        let ended = dump(&[], &lone);
        assert!(ended.err.contains("has changed") && !ended.err.contains("does not look like"), "{}", ended.err);
    }
}

/// A prelude that is sound.
fn prelude(total_length: usize) -> Vec<u8> {
    let mut bytes = u32::try_from(total_length).expect("32 bits").to_be_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

/// Each prelude claims all that follows. To check them all would take half the square of the file's length.
#[test]
fn the_search_behind_damage_takes_work_in_proportion_to_the_file() {
    let whole = |payload: &str| encode(&format!(r#"{{"payload":"{payload}"}}"#));
    let preludes = |len: usize| (12..=len / 12 * 12).rev().step_by(12).flat_map(prelude).collect::<Vec<u8>>();
    let small = whole("");
    // A message that is whole behind each that is not: --recover goes on again and again.
    let pairs = |len: usize| {
        let one = 12 + small.len();
        let ends = (1..=len / one).rev().map(|left| left * one);
        ends.flat_map(|left| [prelude(left), small.clone()].concat()).collect::<Vec<u8>>()
    };
    let checked = |options: &[&str], input: &[u8]| -> usize {
        let ended = dump(options, input);
        assert_eq!(ended.code, Some(FAILED));
        let (_, given_up) =
            ended.err.split_once("the search for the next whole message was given up: ").expect(&ended.err);
        let (_, count) = given_up.split_once('(').expect("the count");
        count.split(' ').next().and_then(|count| count.parse().ok()).expect("a number")
    };
    const LEN: usize = 1 << 20;
    for options in [&[][..], &["--json"], &["--recover"], &["--json", "--recover"]] {
        let is_recovering = options.contains(&"--recover");
        let input = |len| if is_recovering { pairs(len) } else { preludes(len) };
        let [once, twice] = [LEN, 2 * LEN].map(|len| checked(options, &input(len)) as f64);
        assert!(once <= 18.0 * LEN as f64, "{options:?}: {once} bytes were checked");
        assert!((1.9..=2.1).contains(&(twice / once)), "{options:?}: {once} bytes, then {twice}");
    }
    // Honest damage is far from the limit: a message of which a byte has changed, and one behind it.
    let mut large = whole(&"x".repeat(LEN));
    large[100] ^= 1;
    let found = dump(&[], &[large.repeat(10), small].concat());
    assert!(found.err.contains(": --recover goes on there"), "{}", found.err);
}

#[test]
fn json_of_every_sound_vector_becomes_the_same_bytes_again() {
    let folder = cc::root().join("tests/data/vectors/bin");
    let mut sound = 0;
    for entry in fs::read_dir(folder).expect("the vectors are there") {
        let path = entry.expect("a readable folder").path();
        let name = path.to_str().expect("a UTF-8 path");
        let json = run(example("esrpc-dump", &["--json", name]));
        let listing = run(example("esrpc-dump", &[name]));
        assert_eq!(json.code, listing.code, "{name}");
        if json.code != Some(0) {
            assert_eq!(json.code, Some(FAILED), "{name}");
            assert!(json.err.contains(" is damaged at offset "), "{name}: {}", json.err);
            continue;
        }
        assert!(encode(&json.out) == fs::read(&path).expect("a vector"), "{name} changes: {}", json.out);
        sound += 1;
    }
    assert!(sound > 50, "only {sound} vectors are sound");
}

#[test]
fn the_lines_of_codec_dump_become_messages_again() {
    let (input, lines) = two_messages();
    assert_eq!(encode(&lines), input);
    let with_payload = encode(r#"{"headers":{"a":1,"b":"x","c":true},"payload":"hi"}"#);
    let line = run_with_input(example("codec_dump", &["-"]), &with_payload).out;
    assert_eq!(
        line,
        concat!(
            r#"{"total_length":34,"headers":[{"name":"a","type":"int32","value":1},{"name":"b","type":"string","value":"x"},"#,
            r#"{"name":"c","type":"bool_true","value":true}],"payload":"aGk="}"#,
            "\n"
        )
    );
    assert_eq!(encode(&line), with_payload);
}

#[test]
fn mistakes_in_json_are_reported_with_line_and_column() {
    let cases = [
        (r#"{"headers":{"a":1"#, "1:18: the JSON ends too early"),
        ("{\"payload\":\"a\"}\n\n  x", "3:3: this is not JSON"),
        ("{\"payload\":\"é\u{1}\"}", "1:14: this is not JSON"),
        (r#"{"payload":"\x"}"#, "1:14: this is not JSON"),
        (r#"{"payload":"\ud800"}"#, "1:12: this string holds half a surrogate pair"),
        (r#"{"payload":5}"#, "1:12: a string is needed here"),
        (r#"{"payload_base64":"a"}"#, "1:19: this string is not base64"),
        ("[1]", "1:1: a message is an object"),
        (r#"{"x":1}"#, "1:2: a message has no such member"),
        (r#"{"type":"APPLICATION"}"#, "1:9: a type is a number or a name"),
        (r#"{"headers":{"a":[]}}"#, "1:17: the value of a header is a string, a number or a bool"),
        ("{\"headers\":\n [{\"name\":\"a\",\"type\":\"int9\",\"value\":1}]}", "2:22: there is no such type of header"),
        (
            r#"{"headers":[{"name":"a","type":"byte","value":300}]}"#,
            "1:47: the type byte takes a whole number from -128",
        ),
        (r#"{"headers":[{"name":"a","type":"uuid","value":"x"}]}"#, "1:47: this string is not a UUID"),
        (r#"{"headers":[{"value":1}]}"#, "1:13: this header lacks a name or a value"),
        (r#"{"headers":[{"name":"a","values":1}]}"#, "1:25: a header has no such member"),
    ];
    for (json, sentence) in cases {
        let ended = dump(&["--encode"], json.as_bytes());
        assert_eq!((ended.code, ended.out.as_str()), (Some(USAGE), ""), "{json}: {}", ended.err);
        let start = format!("esrpc-dump: standard input:{sentence}");
        assert!(ended.err.starts_with(&start), "{json}: {}", ended.err);
    }
    // Deeper than the reader goes.
    let deep = dump(&["--encode"], "[".repeat(100_000).as_bytes());
    assert_eq!(deep.code, Some(USAGE));
}

#[test]
fn mistakes_in_the_arguments_of_esrpc_dump_are_explained() {
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], USAGE, "which file?"),
        (&["a", "b"], USAGE, "one FILE is enough: what is \"b\"?"),
        (&["--whole", "a"], USAGE, "there is no option --whole\n"),
        (&["--encode", "--json", "a"], USAGE, "--encode goes with no other option"),
        (&["/nowhere/file"], FAILED, "cannot open /nowhere/file: No such file"),
        (&["/"], FAILED, "cannot read /: "),
    ];
    for (arguments, code, sentence) in cases {
        let ended = run(example("esrpc-dump", arguments));
        assert_eq!((ended.code, ended.out.as_str()), (Some(*code), ""), "{arguments:?}");
        assert!(ended.err.starts_with("esrpc-dump: ") && ended.err.contains(sentence), "{}", ended.err);
    }
}
