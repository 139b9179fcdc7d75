//! The text of README and of the pages: what is marked in it, and where it leads.
#![allow(dead_code, reason = "each test uses a part of it")]

/// The block of code between the comments `<!-- name -->` and `<!-- end of name -->`.
pub fn marked<'a>(text: &'a str, name: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("<!-- {name} -->\n```")).unwrap_or_else(|| panic!("no block {name:?}"));
    let (block, _) = rest.split_once(&format!("```\n<!-- end of {name} -->")).unwrap_or_else(|| panic!("{name:?}"));
    block.split_once('\n').expect("a language").1
}

/// The links, without those in blocks of code, where lambdas look like links.
pub fn links(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    let ends = prose.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split_once(')'));
    ends.map(|(link, _)| link).collect()
}
