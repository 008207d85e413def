//! What libgit2 is told to push, in place of what is pushed.

use git2::{ObjectType, Odb, Oid, Repository};

/// A repository in memory that holds nothing but one empty file, and the file.
///
/// Not the clone: what is to be packed libgit2 finds out by walking all folders of whatever it knows of the remote's commits
/// (`pack-objects.c`, `mark_tree_uninteresting`), at a cost that grows with the repository. Here it knows of none.
pub(super) fn repository() -> Result<(Repository, Oid), git2::Error> {
    let odb = Odb::new()?;
    // A backend needs a priority; there is no other one.
    odb.add_new_mempack_backend(1)?;
    let file = odb.write(ObjectType::Blob, &[])?;
    Ok((Repository::from_odb(odb)?, file))
}
