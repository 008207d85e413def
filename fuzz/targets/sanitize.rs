//! Whatever JSON an object is: its canonical text reads back as what gives the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(object) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let _ = manifest::managed_fields_hash(&object);
    let Ok(canonical) = manifest::canonicalize(&object) else {
        return;
    };
    let again = manifest::parse(&canonical.text).expect("what is written can be read");
    let again = manifest::canonicalize(&again).expect("what is written is an object");
    assert_eq!(
        String::from_utf8_lossy(&again.text),
        String::from_utf8_lossy(&canonical.text)
    );
    assert_eq!(again.hash, canonical.hash);
});
