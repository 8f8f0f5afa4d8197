//! `--against git:REV:PATH` with a real repository.

use std::path::Path;
use std::process::Command;

use super::{folder, run, sidegate};

fn git(folder: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

const CONFIG: &str = "
sources:
  db: { sql: { url: 'sqlite:shop.db', init: ../sql/init.sql } }
  api: { rest: { base_url: 'http://localhost:1', credentials: { bearer: '${NO_SUCH_TOKEN}' } } }
tools:
  words: { description: Words., static: { file: texts/words.md } }
  rows: { description: Rows., sql: { source: db, query: SELECT 1 } }
  ask: { description: Asks., rest: { source: api, get: /a } }
";

/// A repository whose first commit is tagged `one`.
fn repository() -> tempfile::TempDir {
    let folder = folder(&[
        ("gateway/gateway.yaml", CONFIG),
        ("gateway/texts/words.md", "Old words."),
        ("sql/init.sql", "CREATE TABLE a (b);"),
    ]);
    git(folder.path(), &["init", "-q", "-b", "main"]);
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "-q", "-m", "one"]);
    git(folder.path(), &["tag", "one"]);
    folder
}

#[test]
fn a_revision_is_compared_with_its_own_files() {
    let repository = repository();
    let root = repository.path();
    let inside = root.join("gateway");
    for (place, config) in [(root, "gateway/gateway.yaml"), (root, "gateway"), (&inside, "gateway.yaml")] {
        for against in ["git:one:gateway/gateway.yaml", "git:HEAD:gateway", "git:main:gateway/../gateway"] {
            let (code, out, err) = run(place, &["plan", "-c", config, "--against", against]);
            assert_eq!((code, out), (0, format!("no change against {against}\n")), "{err}");
            assert!(err.contains("${NO_SUCH_TOKEN}"), "{err}");
        }
    }
    std::fs::write(root.join("gateway/texts/words.md"), "New words.").unwrap();
    std::fs::write(root.join("sql/init.sql"), "CREATE TABLE a (b, c);").unwrap();
    let (code, out, _) = run(root, &["plan", "-c", "gateway", "--against", "git:one:gateway"]);
    assert_eq!(code, 0);
    assert!(out.contains("tool words: changed") && out.contains("source db: changed"), "{out}");
    assert!(!out.contains("tool rows") && !out.contains("source api"), "{out}");
    std::fs::write(root.join("gateway/gateway.yaml"), CONFIG.replace("rows:", "lines:")).unwrap();
    std::fs::remove_file(root.join("sql/init.sql")).unwrap();
    std::fs::write(
        root.join("gateway/gateway.yaml"),
        CONFIG.replace("rows:", "lines:").replace(", init: ../sql/init.sql", ""),
    )
    .unwrap();
    let (code, out, _) = run(root, &["plan", "-c", "gateway", "--against", "git:one:gateway"]);
    assert_eq!(code, 1);
    assert!(out.contains("tool lines: renamed (was rows)"), "{out}");
}

#[test]
fn included_files_are_those_of_the_revision() {
    let tool = |name: &str| format!("tools: {{ {name}: {{ description: A., static: {{ file: a.md }} }} }}\n");
    let folder = folder(&[
        ("g/gateway.yaml", "include: ['r*/*.yaml', ../more.yaml]\n"),
        ("g/routes/a.yaml", &tool("a")),
        ("g/routes/b.yaml", &tool("b")),
        ("g/routes/a.md", "Words."),
        ("more.yaml", &tool("c")),
        ("a.md", "Words."),
    ]);
    let root = folder.path();
    git(root, &["init", "-q", "-b", "main"]);
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "one"]);
    let against = ["plan", "-c", "g", "--against", "git:main:g"];
    assert_eq!(run(root, &against).1, "no change against git:main:g\n");
    std::fs::remove_file(root.join("g/routes/b.yaml")).unwrap();
    std::fs::write(root.join("a.md"), "Other words.").unwrap();
    let (code, out, _) = run(root, &against);
    assert_eq!(code, 1);
    assert!(
        out.contains("tool b: removed") && out.contains("tool c: changed") && !out.contains("tool a"),
        "{out}"
    );
}

#[cfg(unix)]
#[test]
fn links_inside_a_revision_are_followed_and_those_out_of_it_are_not() {
    let repository = repository();
    let root = repository.path();
    let words = root.join("gateway/texts/words.md");
    std::fs::remove_file(&words).unwrap();
    std::os::unix::fs::symlink("../../sql/init.sql", &words).unwrap();
    git(root, &["commit", "-q", "-a", "-m", "two"]);
    let same = run(root, &["plan", "-c", "gateway", "--against", "git:HEAD:gateway"]);
    assert_eq!(same.0, 0, "{same:?}");
    std::fs::remove_file(&words).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &words).unwrap();
    git(root, &["commit", "-q", "-a", "-m", "three"]);
    std::fs::remove_file(&words).unwrap();
    std::fs::write(&words, "Words.").unwrap();
    let (code, _, err) = run(root, &["plan", "-c", "gateway", "--against", "git:HEAD:gateway"]);
    assert_eq!(code, 2);
    assert!(err.contains("link out of the repository"), "{err}");
}

#[cfg(unix)]
#[test]
fn folders_behind_links_are_listed_in_a_revision() {
    let tool = |name: &str| format!("tools: {{ {name}: {{ description: A., static: {{ text: a }} }} }}\n");
    let folder = folder(&[
        ("g/gateway.yaml", "include: ['linked/*.yaml', 'shop*/r/*.yaml']\n"),
        ("routes/a.yaml", &tool("a")),
        ("parts/r/b.yaml", &tool("b")),
    ]);
    let root = folder.path();
    for (to, link) in
        [("../routes", "g/linked"), ("../parts", "g/shop"), ("none", "g/shop-gone"), ("/", "g/shop-out")]
    {
        std::os::unix::fs::symlink(to, root.join(link)).unwrap();
    }
    git(root, &["init", "-q", "-b", "main"]);
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "one"]);
    let against = ["plan", "-c", "g", "--against", "git:main:g"];
    let same = run(root, &against);
    assert_eq!(same.1, "no change against git:main:g\n", "{same:?}");
    std::fs::remove_file(root.join("routes/a.yaml")).unwrap();
    std::fs::write(root.join("parts/r/b.yaml"), tool("b").replace("A.", "B.")).unwrap();
    let (code, out, err) = run(root, &against);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("tool a: removed") && out.contains("tool b: changed"), "{out}");
}

#[test]
fn files_named_by_whole_paths_are_those_of_the_revision_and_of_the_other_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let tool = |said: &str| format!("tools: {{ a: {{ description: {said}, static: {{ text: a }} }} }}\n");
    let config = format!("include: ['{0}/g/parts/*.yaml', '{0}/g/more.yaml']\n", root.display());
    for place in ["g", "old"] {
        std::fs::create_dir_all(root.join(place).join("parts")).unwrap();
        std::fs::write(root.join(place).join("gateway.yaml"), &config).unwrap();
        std::fs::write(root.join(place).join("parts/a.yaml"), tool("Old.")).unwrap();
        std::fs::write(root.join(place).join("more.yaml"), tool("Old.").replace(" a:", " b:")).unwrap();
    }
    git(&root, &["init", "-q", "-b", "main"]);
    git(&root, &["add", "."]);
    git(&root, &["commit", "-q", "-m", "one"]);
    std::fs::write(root.join("g/parts/a.yaml"), tool("New.")).unwrap();
    std::fs::write(root.join("g/more.yaml"), tool("New.").replace(" a:", " b:")).unwrap();
    for (place, config, against) in
        [(&root, "g", "git:main:g"), (&root.join("g"), "gateway.yaml", "git:main:g"), (&root, "g", "old")]
    {
        let (code, out, err) = run(place, &["plan", "-c", config, "--against", against]);
        assert_eq!(code, 0, "{out}{err}");
        assert!(out.contains("tool a: changed") && out.contains("tool b: changed"), "{against}: {out}{err}");
    }
}

#[test]
fn files_named_by_whole_paths_beside_the_configuration_are_those_of_the_revision() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap().join("repository");
    std::fs::create_dir_all(root.join("g")).unwrap();
    std::fs::create_dir_all(root.join("shared")).unwrap();
    let tool = |name: &str, said: &str| {
        format!("tools: {{ {name}: {{ description: {said}, static: {{ text: a }} }} }}\n")
    };
    let outside = root.parent().unwrap().join("outside.yaml");
    std::fs::write(&outside, tool("b", "Outside.")).unwrap();
    let config = format!("include: ['{}/shared/*.yaml', '{}']\n", root.display(), outside.display());
    std::fs::write(root.join("g/gateway.yaml"), &config).unwrap();
    std::fs::write(root.join("shared/a.yaml"), tool("a", "Old.")).unwrap();
    git(&root, &["init", "-q", "-b", "main"]);
    git(&root, &["add", "."]);
    git(&root, &["commit", "-q", "-m", "one"]);
    let against = ["plan", "-c", "g", "--against", "git:main:g"];
    assert_eq!(run(&root, &against).1, "no change against git:main:g\n");
    std::fs::write(root.join("shared/a.yaml"), tool("a", "New.")).unwrap();
    // What is of no revision is what it is.
    std::fs::write(&outside, tool("b", "Elsewhere.")).unwrap();
    for (place, config) in [(&root, "g"), (&root.join("g"), "gateway.yaml")] {
        let (code, out, err) = run(place, &["plan", "-c", config, "--against", "git:main:g"]);
        assert_eq!(code, 0, "{out}{err}");
        assert!(out.contains("tool a: changed") && !out.contains("tool b"), "{out}{err}");
    }
    // By way of a link.
    #[cfg(unix)]
    {
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&root, &link).unwrap();
        let config = config.replace(&root.display().to_string(), &link.display().to_string());
        std::fs::write(root.join("g/gateway.yaml"), config).unwrap();
        git(&root, &["commit", "-q", "-m", "two", "g"]);
        let (code, out, err) = run(&link, &against);
        assert_eq!(code, 0, "{out}{err}");
        assert!(out.contains("tool a: changed"), "{out}{err}");
    }
}

#[test]
fn what_is_not_there_is_said_and_nothing_is_run() {
    let repository = repository();
    let root = repository.path();
    for (against, sentence) in [
        ("git:two:gateway", "there is no revision `two`"),
        ("git:$(touch evil):gateway", "there is no revision"),
        ("git:one;touch evil:gateway", "there is no revision"),
        ("git:one:gateway/none.yaml", "there is no such file in this revision"),
        ("git:one:../outside.yaml", "from the root of the repository"),
        ("git:-one:gateway", "neither the revision nor the path begins with `-`"),
        ("git:one:-gateway", "neither the revision nor the path begins with `-`"),
        ("git:one", "git:REV:PATH"),
        ("git::gateway", "git:REV:PATH"),
    ] {
        let (code, out, err) = run(root, &["plan", "-c", "gateway", "--against", against]);
        assert_eq!((code, out.as_str()), (2, ""), "{against}: {err}");
        assert!(err.contains(sentence), "{against}: {err}");
        assert!(!err.contains("SIDEGATE_CONFIG"), "{against} was named well enough: {err}");
    }
    let (_, _, err) = run(tempfile::tempdir().unwrap().path(), &["plan"]);
    assert!(err.contains("name a file with `-c`, or set SIDEGATE_CONFIG"), "{err}");
    assert!(!root.join("evil").exists());
    let nowhere = folder(&[("gateway.yaml", "tools: { a: { description: A., static: { text: a } } }\n")]);
    let mut command = sidegate(nowhere.path(), &["plan", "--against", "git:main:gateway.yaml"]);
    let output = command.env("GIT_CEILING_DIRECTORIES", nowhere.path().parent().unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a git repository"));
    let mut command = sidegate(root, &["plan", "-c", "gateway", "--against", "git:one:gateway"]);
    let output = command.env("PATH", root).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`git` is not installed here"));
}

#[test]
fn a_mistake_in_a_revision_is_shown_in_its_own_text() {
    let repository = repository();
    let root = repository.path();
    let path = root.join("gateway/gateway.yaml");
    std::fs::write(&path, CONFIG.replace("source: db", "source: bd")).unwrap();
    git(root, &["commit", "-q", "-a", "-m", "broken"]);
    std::fs::write(&path, CONFIG).unwrap();
    let (code, _, err) = run(root, &["plan", "-c", "gateway", "--against", "git:HEAD:gateway"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("--> git:HEAD:gateway/gateway.yaml:7:") && err.contains("sources: `db`, `api`"),
        "{err}"
    );
}
