//! The table of `docs/performance.md`: how the goals stood when `just bench` was run last, as it wrote that down.

use serde_json::Value;

const BEGIN: &str = "<!-- goals: written by UPDATE_DOCS=1 from benches/results/ratios.json -->\n";
const END: &str = "<!-- end of the goals -->";

/// The page with the table of `measured` in the place of its own.
pub fn renewed(page: &str, measured: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the page says where its table begins");
    let (_, after) = rest.split_once(END).expect("the page says where its table ends");
    format!("{before}{BEGIN}\n{}\n{END}{after}", table(&serde_json::from_str(measured).unwrap()))
}

fn table(measured: &Value) -> String {
    let goals = measured["goals"].as_array().expect("the results have goals");
    assert!(goals.len() > 20, "only {} goals were measured; run `just bench` without names", goals.len());
    let met = goals.iter().filter(|goal| goal["outcome"] == "met").count();
    let mut text =
        "| what | measured against | figure | goal | measured | |\n|---|---|---|---|---|---|\n".to_owned();
    for goal in goals {
        let of = |key: &str| goal[key].as_str().unwrap_or_else(|| panic!("no {key} in {goal}"));
        let beside = if of("beside").is_empty() { String::new() } else { format!(" ({})", of("beside")) };
        text.push_str(&format!(
            "| {} | {} | {} | {} | {}{beside} | {} |\n",
            of("what"),
            of("against"),
            of("measure"),
            of("goal"),
            of("shown"),
            of("outcome")
        ));
    }
    let conditions = measured["conditions"].as_str().expect("the results say where they were taken").trim();
    format!("{text}\n{met} of {} are met. {}\n", goals.len(), conditions.replace('\n', ". "))
}
