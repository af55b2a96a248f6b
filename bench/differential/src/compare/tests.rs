//! A difference has a path and both values; order counts unless it is said not to.

use super::*;
use crate::allowed::Unordered;

fn atom(value: i64) -> Tree {
    Tree::Atom(value.to_string())
}

fn fields(fields: &[(&str, Tree)]) -> Tree {
    Tree::Fields(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn allowed(unordered: &[&str]) -> Allowed {
    let unordered = unordered.iter().map(|path| Unordered {
        api: 3,
        path: (*path).to_owned(),
        keys: vec!["name".to_owned()],
        reason: String::new(),
    });
    Allowed { unordered: unordered.collect(), fields: Vec::new() }
}

fn difference(path: &str, kafka: &str, corelog: &str) -> Difference {
    Difference { path: path.to_owned(), kafka: kafka.to_owned(), corelog: corelog.to_owned() }
}

#[test]
fn a_changed_field_is_found_wherever_it_is() {
    let topic = |code| fields(&[("name", Tree::Text("a".to_owned())), ("error_code", atom(code))]);
    let reply = |code| fields(&[("topics", Tree::List(vec![topic(0), topic(code)])), ("epoch", Tree::Null)]);
    assert_eq!(differences(3, &reply(1), &reply(1), &allowed(&[])), []);
    assert_eq!(
        differences(3, &reply(3), &reply(5), &allowed(&[])),
        [difference("topics[1].error_code", "3", "5")]
    );
}

#[test]
fn a_missing_field_and_a_missing_element_are_found() {
    let long = fields(&[("list", Tree::List(vec![atom(1), atom(2)])), ("extra", atom(3))]);
    let short = fields(&[("list", Tree::List(vec![atom(1)]))]);
    let lost = [difference("list[1]", "2", "absent"), difference("extra", "3", "absent")];
    assert_eq!(differences(3, &long, &short, &allowed(&[])), lost);
    let invented = [difference("list[1]", "absent", "2"), difference("extra", "absent", "3")];
    assert_eq!(differences(3, &short, &long, &allowed(&[])), invented);
}

#[test]
fn null_and_empty_are_not_the_same() {
    let with = |value| fields(&[("list", value)]);
    let found = differences(3, &with(Tree::Null), &with(Tree::List(Vec::new())), &allowed(&[]));
    assert_eq!(found, [difference("list", "null", "[]")]);
}

#[test]
fn an_unordered_array_is_compared_by_key_even_when_a_key_occurs_twice() {
    let topic = |name: &str, code| fields(&[("name", Tree::Text(name.to_owned())), ("code", atom(code))]);
    let reply = |topics: &[Tree]| fields(&[("topics", Tree::List(topics.to_vec()))]);
    let one = reply(&[topic("a", 1), topic("b", 2), topic("a", 3)]);
    let other = reply(&[topic("b", 2), topic("a", 1), topic("a", 3)]);
    assert_eq!(differences(3, &one, &other, &allowed(&["topics"])), []);
    assert_ne!(differences(3, &one, &other, &allowed(&[])), []);
    let fewer = reply(&[topic("b", 2), topic("a", 4)]);
    assert_eq!(
        differences(3, &one, &fewer, &allowed(&["topics"])),
        [difference("topics[a].code", "1", "4"), difference("topics[a]", "{name: \"a\", code: 3}", "absent"),]
    );
}
