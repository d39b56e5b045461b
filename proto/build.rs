//! Compiles the .proto files with protox, so that nobody needs to install protoc.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 3] = [
    "tutti/auth/v1/auth.proto",
    "tutti/friends/v1/friends.proto",
    "tutti/rooms/v1/rooms.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=tutti");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
