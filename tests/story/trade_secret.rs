//! A trade secret: denied with every reason while papers are missing, permitted with a mark once they are on file.

use crate::world::World;

const PATH: &str = "/data/litho-process/recipe.csv";
const RECIPE: &str = "step,temperature_c,seconds\n1,112.5,30\n2,\"240, then 180\",95\n";

#[tokio::test]
async fn a_trade_secret_needs_agreement_and_licence() {
    let world = World::open().await;
    world.kansai.upstream.offer("/litho-process/recipe.csv", "text/csv", RECIPE);
    let wessex = world.peer("wessex.example");

    let denied = wessex.get(PATH, &wessex.pass("dfft:JointDevelopment").sign()).await;
    assert_eq!(denied.status, 403);
    assert_eq!(denied.code(), "policy_denied");
    assert_eq!(denied.rules(), ["DFFT-I3", "DFFT-S2", "DFFT-S9"]);
    assert!(world.kansai.upstream.seen().is_empty());

    let permitted = wessex.get(PATH, &wessex.pass("dfft:JointDevelopment").agreement("AG-LITHO").sign()).await;
    assert_eq!(permitted.status, 200, "{:?}", permitted.body);
    let mark = permitted.exchange();
    let mut lines = RECIPE.lines();
    let mut expected = format!("{},sekisho_mark\n", lines.next().unwrap());
    expected.extend(lines.map(|line| format!("{line},{mark}\n")));
    assert_eq!(permitted.text(), expected);
    let conveyed: serde_json::Value = serde_json::from_str(permitted.header("sekisho-obligations").unwrap()).unwrap();
    let conveyed: Vec<_> = conveyed.as_array().unwrap().iter().map(|told| told["do"].as_str().unwrap()).collect();
    assert_eq!(conveyed, ["no_onward_transfer", "record_licence", "notify_gov_access_request"]);

    let books = world.close().await;
    let told = books.kansai.of(&denied);
    told.check_refused("deny", "policy_denied", 403);
    assert_eq!(told.rules(), ["DFFT-I3", "DFFT-S2", "DFFT-S9"]);
    assert_eq!(told.decision.get("agreement"), None);
    let told = books.kansai.of(&permitted);
    told.check_complete(RECIPE.as_bytes(), expected.as_bytes());
    assert_eq!(told.decision["agreement"], "AG-LITHO");
    let carried = [
        "DFFT-I3:watermark",
        "DFFT-I3:no_onward_transfer",
        "DFFT-S2:record_licence",
        "DFFT-S5:notify_gov_access_request",
    ];
    assert_eq!(told.carried(), carried);
}

#[tokio::test]
async fn an_application_learns_the_reasons_of_the_partners_policy() {
    let world = World::open().await;
    let path = "/partners/kansai.example/data/litho-process/recipe.csv";
    let denied = world.wessex.fetch(path, "dfft:JointDevelopment").await;
    assert_eq!(denied.code(), "policy_denied");
    assert_eq!(denied.rules(), ["DFFT-I3", "DFFT-S2", "DFFT-S9"]);
    let books = world.close().await;
    books.kansai.of(&denied).check_refused("deny", "policy_denied", 403);
    let asked = books.wessex.of(&denied);
    assert_eq!(asked.decision["decision"], "permit", "asking was allowed");
    assert_eq!(asked.outcome["ended"], "refused");
    assert_eq!(asked.outcome["code"], "partner_refused");
    assert_eq!(asked.outcome["status"], 403);
}
