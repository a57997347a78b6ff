//! What only the embedded log promises: crashes, full disks, hostile clients, its directory.

mod child;
mod compaction;
mod crash;
mod directory;
mod full_disk;
mod hostile;
mod limits;
mod restart;
mod support;
