//! The tables in docs/manifests.md are those of the code. `UPDATE_DOCS=1 cargo test -p manifest --test docs` writes them.

use std::path::Path;

use manifest::{LeftOut, rules};

fn tables() -> [(&'static str, String); 2] {
    let cell = |text: &dyn std::fmt::Display| text.to_string().replace('|', "\\|");
    let mut of_rules = "| what goes | why | source |\n| --- | --- | --- |\n".to_owned();
    for rule in rules() {
        let row = format!(
            "| `{}` | {} | {} |\n",
            cell(rule),
            cell(&rule.reason()),
            cell(&rule.source())
        );
        of_rules.push_str(&row);
    }
    let mut of_objects = "| what | why |\n| --- | --- |\n".to_owned();
    for reason in LeftOut::ALL {
        let row = format!("| {} | {} |\n", cell(&reason.what()), cell(&reason));
        of_objects.push_str(&row);
    }
    [("rules", of_rules), ("objects", of_objects)]
}

#[test]
fn the_documented_tables_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manifests.md");
    let mut text = std::fs::read_to_string(&path).expect("docs/manifests.md");
    for (name, table) in tables() {
        let marks = [
            format!("<!-- {name}: from the code -->\n"),
            format!("<!-- end of {name} -->"),
        ];
        let begin = text.find(&marks[0]).expect("a mark") + marks[0].len();
        let end = text.find(&marks[1]).expect("a mark");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            text.replace_range(begin..end, &table);
            std::fs::write(&path, &text).expect("docs/manifests.md can be written");
        } else {
            assert_eq!(
                &text[begin..end],
                table,
                "the table of {name}; UPDATE_DOCS=1 writes it"
            );
        }
    }
}
