use super::super::outcome::tests::good_outcome;
use super::*;

fn drawn(width: usize, colour: bool) -> String {
    let screen = Screen {
        look: Look { width, colour },
        directory: Path::new("/tmp/safeguard-demo-x"),
        kept: false,
    };
    screen.draw(&good_outcome())
}

#[test]
fn wide_screens_show_both_sides_on_one_line() {
    let page = drawn(100, false);
    let line = page.lines().find(|line| line.contains("   ssn")).unwrap();
    let (left, right) = line.split_once('│').unwrap();
    assert!(left.contains("987-65-4320"));
    assert!(right.contains("hs1.") && !right.contains("987"));
}

#[test]
fn narrow_screens_stack_the_sides() {
    let page = drawn(70, false);
    assert!(!page.contains('│'));
    assert!(page.contains("the clinic received") && page.contains("hs1."));
}

#[test]
fn no_line_is_wider_than_the_screen() {
    for width in [40, 70, 80, 100, 120] {
        let page = drawn(width, false);
        let over = page
            .lines()
            .find(|l| l.chars().count() > width && !l.starts_with(" files:"));
        assert_eq!(over, None, "{width}");
    }
}

#[test]
fn colour_is_there_only_when_wanted() {
    assert!(!drawn(100, false).contains('\x1b'));
    assert!(drawn(100, true).contains("\x1b[32m987-65-4320\x1b[0m"));
}

#[test]
fn masked_tokenized_and_withheld_values_stand_in_the_table() {
    let page = drawn(120, false);
    for part in [
        "***-**-4320",
        "sgt1.",
        "withheld",
        "care-agent",
        "-32051",
        "-32050",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn the_page_fits_a_usual_window() {
    assert!(drawn(100, false).lines().count() <= 46);
}
