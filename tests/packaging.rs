//! What the files of packages repeat of this repository.

use std::fs;
use std::path::Path;
use std::process::Command;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
#[cfg(target_os = "linux")]
fn the_recipe_for_yocto_has_the_crates_of_the_lock_file() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/yocto/update.sh");
    let output = Command::new(script).arg("--check").output().expect("bash is needed");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
}

#[test]
fn packages_have_the_version_of_the_library() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = text("packaging/debian/changelog");
    let newest = changelog.lines().next().unwrap_or_default();
    assert!(newest.starts_with(&format!("libeventstream-rpc ({version}-")), "packaging/debian/changelog: {newest}");
    let port: serde_json::Value = serde_json::from_str(&text("packaging/vcpkg/vcpkg.json")).expect("it is JSON");
    assert_eq!(port["version"], version, "packaging/vcpkg/vcpkg.json");
}

/// Features that the port offers are features of the library.
#[test]
fn the_port_for_vcpkg_has_features_of_the_library() {
    let port: serde_json::Value = serde_json::from_str(&text("packaging/vcpkg/vcpkg.json")).expect("it is JSON");
    let (manifest, portfile) = (text("Cargo.toml"), text("packaging/vcpkg/portfile.cmake"));
    let features = port["features"].as_object().expect("it has features");
    assert!(!features.is_empty());
    for feature in features.keys() {
        assert!(manifest.contains(&format!("\n{feature} = [")), "Cargo.toml lacks {feature}");
        assert!(portfile.contains(&format!(" {feature}")), "portfile.cmake lacks {feature}");
    }
}
