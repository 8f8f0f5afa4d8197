//! What users read stays true: every YAML block of the README and of `docs/` loads, compiles and fits the schema (or fails
//! as its page says), links lead somewhere, `docs/configuration.md` is generated from the schema, and the table of
//! `docs/performance.md` is what `just bench` wrote last. `UPDATE_DOCS=1` writes both anew.
//!
//! A comment on the line before a YAML block says what to do with it:
//! `<!-- within: tools -->` puts it under that key, beside the sources of the example; `<!-- file: examples/x.yaml -->` says
//! that it is that file; `<!-- beside: tests/config/tls -->` where the files are that it names; `<!-- wrong -->` that it must fail, with the report in the block that follows.

mod blocks;
mod goals;
mod reference;

use std::path::{Path, PathBuf};
use std::{env, fs};

use blocks::Block;

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page for users, by its path in the repository.
fn pages() -> Vec<(PathBuf, String)> {
    let mut files = vec![PathBuf::from("README.md"), "CHANGELOG.md".into(), "CONTRIBUTING.md".into()];
    for folder in ["docs", "docs/guides"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name()));
        files.extend(names.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(root().join(&path)).unwrap())).collect()
}

fn blocks() -> Vec<Block> {
    let blocks: Vec<Block> =
        pages().iter().flat_map(|(path, text)| blocks::find(&path.display().to_string(), text)).collect();
    assert!(blocks.len() > 12, "only {} YAML blocks were found", blocks.len());
    blocks
}

/// Runs `check` on every block and fails with all that it says.
fn for_each(blocks: &[Block], check: impl Fn(&Block) -> Result<(), String>) {
    let problems: Vec<String> = blocks
        .iter()
        .filter_map(|block| check(block).err().map(|why| format!("{}:{}: {why}", block.page, block.line)))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

#[test]
fn every_yaml_block_compiles_or_fails_as_its_page_says() {
    for_each(&blocks(), Block::compiles_as_said);
}

#[test]
fn every_right_yaml_block_fits_the_schema() {
    let right: Vec<Block> = blocks().into_iter().filter(|b| !b.wrong).collect();
    for_each(&right, Block::fits_the_schema);
}

#[test]
fn a_block_that_stands_for_a_file_is_that_file() {
    for_each(&blocks(), |block| {
        let Some(file) = &block.file else { return Ok(()) };
        let whole = fs::read_to_string(root().join(file)).map_err(|e| format!("{file}: {e}"))?;
        // The file may begin with comments of its own.
        if whole.ends_with(&block.text) { Ok(()) } else { Err(format!("this is not what {file} says")) }
    });
}

#[test]
fn every_example_configuration_compiles_without_a_warning() {
    let entries = fs::read_dir(root().join("examples")).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    files.push(root().join("gateway.example.yaml"));
    assert!(files.len() > 2, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let checked = sidegate::app::check(&file, &blocks::environment(&text));
        let report = blocks::report(&checked);
        assert!(checked.plan.is_some() && report.is_empty(), "{report}");
        blocks::fits(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    }
}

#[test]
fn the_reference_is_what_the_schema_says() {
    let page = reference::generate(include_str!("docs/configuration.template.md"));
    let file = root().join("docs/configuration.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap() == page,
        "docs/configuration.md is not what the schema says; UPDATE_DOCS=1 writes it anew"
    );
}

#[test]
fn the_table_of_the_goals_is_what_was_measured_last() {
    let measured = fs::read_to_string(root().join("benches/results/ratios.json")).unwrap();
    let file = root().join("docs/performance.md");
    let page = goals::renewed(&fs::read_to_string(&file).unwrap(), &measured);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap() == page,
        "docs/performance.md is not what benches/results says; UPDATE_DOCS=1 writes it anew"
    );
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let pages = pages();
    let mut broken = Vec::new();
    let mut seen = 0;
    for (path, text) in &pages {
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|l| !l.contains("://")) {
            seen += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                root().join(path)
            } else {
                root().join(path).parent().unwrap().join(file)
            };
            let there = target.exists()
                && (heading.is_empty()
                    || fs::read_to_string(&target).unwrap().lines().any(|line| {
                        line.starts_with('#')
                            && reference::anchor(line.trim_start_matches('#').trim()) == heading
                    }));
            if !there {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(seen > 20, "only {seen} links were found");
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}
