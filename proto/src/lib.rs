//! The wire: generated from `proto/gitopsreverser/v1/*.proto`, which hold the documentation; and how both processes listen.

mod listen;

pub use listen::listen;

/// Package `gitopsreverser.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("gitopsreverser.v1");

    /// The encoded `FileDescriptorSet`, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
