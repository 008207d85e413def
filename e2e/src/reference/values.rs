//! The chart's values: each stands in `values.yaml` below a comment that begins with `# --`, as helm-docs has it.

use super::{code, row};

pub(super) fn section(values: &str) -> String {
    let mut section =
        String::from("\n## Chart values\n\n| value | default | meaning |\n| --- | --- | --- |\n");
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut comment: Option<String> = None;
    let mut lines = values.lines().peekable();
    while let Some(line) = lines.next() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(begin) = text.strip_prefix("# -- ") {
            comment = Some(begin.to_owned());
        } else if let Some(more) = text.strip_prefix("# ") {
            if let Some(comment) = &mut comment {
                comment.push(' ');
                comment.push_str(more);
            }
        } else if text.is_empty() {
            comment = None;
        } else if let Some((key, rest)) = text.split_once(':').filter(|(key, _)| is_key(key)) {
            path.retain(|(outer, _)| *outer < indent);
            path.push((indent, key.to_owned()));
            let Some(comment) = comment.take() else {
                continue;
            };
            let mut default = rest.trim().to_owned();
            // A list over several lines.
            while let Some(next) = lines.peek().map(|next| next.trim_start()) {
                if default.is_empty() || default.starts_with("- ") {
                    let Some(item) = next.strip_prefix("- ") else {
                        // What belongs to an item is indented further.
                        let deeper = lines
                            .peek()
                            .is_some_and(|line| line.len() - next.len() > indent + 2);
                        if !deeper || default.is_empty() {
                            break;
                        }
                        lines.next();
                        continue;
                    };
                    let first = default.is_empty();
                    default = if first {
                        format!("- {item}")
                    } else {
                        "- …".to_owned()
                    };
                    lines.next();
                } else {
                    break;
                }
            }
            let name: Vec<&str> = path.iter().map(|(_, key)| key.as_str()).collect();
            section.push_str(&row(&[&code(&name.join(".")), &shown(&default), &comment]));
        } else {
            comment = None;
        }
    }
    section
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// What needs lines of its own stands in the chart.
fn shown(default: &str) -> String {
    if default.is_empty() || default.starts_with("- ") {
        "see `values.yaml`".to_owned()
    } else {
        code(default)
    }
}
