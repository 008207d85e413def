//! Git held against the cluster: what is there now, and what was ever deleted.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};
use manifest::Identity;
use serde_json::Value;
use tests::eventually::eventually;

use crate::crowd::{Acts, Sort, wrong_authors};
use crate::lab::{FOLDER, Lab, PATIENCE};

/// The files that a folder is to hold of the lab's namespace, computed afresh.
async fn wanted(
    lab: &Lab<'_>,
    folder: &str,
    sorts: &[Sort],
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut files = BTreeMap::new();
    for sort in sorts {
        let resource = &sort.resource;
        let api: Api<DynamicObject> =
            Api::namespaced_with(lab.client.clone(), &lab.namespace, resource);
        let list = api.list(&ListParams::default()).await;
        for object in list.map_err(|error| error.to_string())?.items {
            let identity = Identity {
                group: resource.group.clone(),
                version: resource.version.clone(),
                resource: resource.plural.clone(),
                namespace: lab.namespace.clone(),
                name: object.name_any(),
            };
            let terminating = object.metadata.deletion_timestamp.is_some();
            // The items of a list come without.
            let mut object = serde_json::to_value(object).unwrap();
            object["apiVersion"] = resource.api_version.clone().into();
            object["kind"] = resource.kind.clone().into();
            if !terminating && manifest::left_out(&identity, &object).is_none() {
                let text = manifest::canonicalize(&object).unwrap().text;
                files.insert(manifest::file_path(folder, &identity), text);
            }
        }
    }
    Ok(files)
}

/// Waits until the lab's folder holds what is live of these types, to the byte, and nothing else.
pub(crate) async fn git_equals_the_cluster(lab: &Lab<'_>, sorts: &[Sort]) {
    folder_equals_the_cluster(lab, FOLDER, sorts).await;
}

/// The same of another folder.
pub(crate) async fn folder_equals_the_cluster(lab: &Lab<'_>, folder: &str, sorts: &[Sort]) {
    let below = format!("{folder}/");
    eventually(PATIENCE * 2, || async {
        let wanted = wanted(lab, folder, sorts).await?;
        let files = lab.repo.files().into_iter();
        let mut files: Vec<_> = files
            .filter(|path| path.starts_with(&below) && path.ends_with(".yaml"))
            .collect();
        files.sort();
        let missing: Vec<_> = wanted.keys().filter(|path| !files.contains(path)).collect();
        let too_many: Vec<_> = files
            .iter()
            .filter(|path| !wanted.contains_key(*path))
            .collect();
        if !missing.is_empty() || !too_many.is_empty() {
            return Err(format!("missing: {missing:?}; too many: {too_many:?}"));
        }
        let mut contents = lab.repo.contents();
        contents.retain(|path, _| wanted.contains_key(path));
        match wanted
            .iter()
            .find(|(path, text)| contents.get(*path) != Some(text))
        {
            None => Ok(()),
            Some((path, text)) => Err(format!(
                "{path} is to be {}\nand is {:?}",
                String::from_utf8_lossy(text),
                contents.get(path).map(|text| String::from_utf8_lossy(text))
            )),
        }
    })
    .await;
}

/// Panics where the history deletes a file more often than its object was deleted, or brings back the very content
/// that it had deleted.
pub(crate) fn no_live_object_was_deleted(lab: &Lab<'_>, acts: &Acts) {
    let mut deleted: BTreeMap<String, usize> = BTreeMap::new();
    let mut last: BTreeMap<String, Option<String>> = BTreeMap::new();
    let log = lab.repo.git(&[
        "log",
        "--reverse",
        "--no-renames",
        "--raw",
        "--no-abbrev",
        "--format=commit %H",
        "main",
        "--",
        FOLDER,
    ]);
    for line in log.unwrap().lines().filter(|line| line.starts_with(':')) {
        // `:mode mode blob blob status<TAB>path`
        let (change, path) = line.split_once('\t').unwrap();
        let words: Vec<&str> = change.split(' ').collect();
        if words[4] == "D" {
            *deleted.entry(path.to_owned()).or_default() += 1;
            last.insert(path.to_owned(), Some(words[2].to_owned()));
        } else if let Some(Some(before)) = last.insert(path.to_owned(), None) {
            assert_ne!(before, words[3], "{path} was deleted and is back as it was");
        }
    }
    for (path, count) in deleted {
        let most = acts.deletes.get(&path).copied().unwrap_or_default();
        assert!(
            count <= most,
            "{path} was deleted {count} times, its object {most} times"
        );
    }
}

/// Panics where a commit names one of the crowd wrongly. How many bear a name.
pub(crate) fn nobody_is_wronged(lab: &Lab<'_>) -> usize {
    let (named, wrong) = wrong_authors(&lab.repo);
    assert!(wrong.is_empty(), "{wrong:#?}");
    named
}

/// Who made the last change of a file, and how that is known.
pub(crate) fn last_author(lab: &Lab<'_>, path: &str) -> (String, String) {
    let last = lab.versions(path).pop().unwrap();
    let tier = last.trailer("Attribution").unwrap_or_default().to_owned();
    (last.author_name, tier)
}

/// Waits until the object in a file is as wanted.
pub(crate) async fn file_is(lab: &Lab<'_>, path: &str, wanted: impl Fn(&Value) -> bool) {
    eventually(PATIENCE, || async {
        let text = lab
            .repo
            .file(path)
            .ok_or_else(|| format!("{path} is not there"))?;
        let object: Value = serde_yaml::from_slice(&text).map_err(|error| error.to_string())?;
        if wanted(&object) {
            Ok(())
        } else {
            Err(format!("{path} holds {object}"))
        }
    })
    .await;
}

/// Waits until an object's file says who signed it.
pub(crate) async fn is_signed(lab: &Lab<'_>, path: &str, by: &str) {
    file_is(lab, path, |object| {
        object["metadata"]["annotations"]["by"] == by
    })
    .await;
}

/// Waits until a file is gone.
pub(crate) async fn is_gone(lab: &Lab<'_>, path: &str) {
    eventually(PATIENCE, || async {
        match lab.repo.file(path) {
            None => Ok(()),
            Some(_) => Err(format!("{path} is there")),
        }
    })
    .await;
}
