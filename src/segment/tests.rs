use proptest::prelude::*;

use super::*;

fn pieces(text: &str) -> Vec<&str> {
    sentences(text)
        .into_iter()
        .map(|s| &text[s.range])
        .collect()
}

/// `expect` is the text with `¦` where a sentence ends.
#[track_caller]
fn check(expect: &str) {
    let text: String = expect.replace(" ¦ ", " ").replace("¦", "");
    let expect: Vec<&str> = expect.split('¦').map(str::trim).collect();
    assert_eq!(pieces(&text), expect);
}

#[track_caller]
fn check_paragraphs(text: &str, expect: &[(usize, &str)]) {
    let found: Vec<_> = sentences(text)
        .into_iter()
        .map(|s| (s.paragraph, &text[s.range]))
        .collect();
    assert_eq!(found, expect);
}

#[test]
fn ends_at_stops() {
    check("The vote passed. ¦ Nobody cheered! ¦ Was it fair?");
    check("Growth reached 3.5 percent in May. ¦ Wages rose 1.2 percent.");
    check("The budget grew to $4.6 billion. ¦ 12 ministers resigned.");
    check("Really?! ¦ The clerk shrugged.");
    check("The plan is sound. ¦ (The mayor disagrees.) ¦ It goes on.");
    check("See the register at www.harbour-trust.org/a.b for more. ¦ It is free.");
    check("Write to desk@example.com. ¦ We read every letter.");
    check("The study was small.[4] ¦ Others were larger.[5][6] ¦ All were brief.");
    check("Sales slid. ¦ iPhone buyers wait.");
    check("The fleet sailed at dawn.* ¦ It has not returned.");
}

#[test]
fn abbreviations_go_on() {
    check("Gov. Lena Ortiz met Sen. Paul Reyes and Rep. Ada Cole. ¦ They agreed.");
    check("Lt. Gen. Omar Haddad spoke. ¦ Maj. Ruth Bell did not.");
    check("GOV. ORTIZ SIGNS HARBOUR BILL");
    check("ST. IVES SHUTS ITS PORT");
    check("On Jan. 5 the court ruled. ¦ It sat until Feb. 9.");
    check("The talks ended in Jan. ¦ The two sides blamed each other.");
    check("She lives at No. 10 on St. James Road. ¦ He said no. ¦ Nobody asked again.");
    check("Acme Corp. Chief Executive Jo Lund quit Acme Inc. in May.");
    check("He sued Acme Inc. ¦ The firm denied it.");
    check("It was Norway vs. Spain, i.e. North vs. South.");
    check("Rep. Ada Cole (D-Ga.) voted no. ¦ Sen. Paul Reyes, R-Wis., abstained.");
    check("The crew landed in Tacoma, Wash. ¦ They slept.");
    check("Mr. and Mrs. Dahl v. the Crown");
}

#[test]
fn initials_and_acronyms() {
    check("T. S. Marlowe met Harold B. Quist. ¦ They talked.");
    check("Troops left the U.S. on Friday.");
    check("The U.S. Navy sent a ship. ¦ It will stay in the U.S. ¦ That is all.");
    check("The U.N. Security Council met.");
    check("She returned to the U.S. ¦ “We are glad,” he said.");
    check("She flew to Washington, D.C. ¦ A spokesman met her.");
    check("She holds a Ph.D. from Lund. ¦ He has an M.B.A. ¦ Tom has neither.");
    check("He is the father of Sam Reed Jr. ¦ He was there.");
}

#[test]
fn times_and_units() {
    check("The talks begin at 6 p.m. ¦ Olsen arrives later.");
    check("At 6 p.m. Olsen arrived.");
    check("Doors open at 9 a.m. EST on Monday.");
    check("It closed at 5 p.m. ¦ The crowd stayed.");
    check("The hull is 30 ft. long. ¦ Come in. ¦ Look around.");
    check("The wall fell in 476 A.D. ¦ Nobody rebuilt it.");
}

#[test]
fn quotations_are_cut() {
    check("\"He said, 'Go home.' \" ¦ They went. ¦ \"Good.\"");
    check("\"We won.\" he said.");
    check("\"Stop!\" she cried. ¦ Nobody did.");
    check("“Is it over?” Mayor Ana Ruiz asked. ¦ “Yes.”");
    check("He said: \"I go. ¦ You stay.\" ¦ She nodded.");
    check("“The road is shut. ¦ We walk,” said Olsen. ¦ “There is no bus.”");
    check("\"It is late.\" ¦ \"Then leave.\"");
    check("He called it “a farce.” ¦ The hall fell silent.");
    check("He called it (twice!) a farce.");
    check("''It is done,'' he wrote. ¦ ''We go home.'' ¦ They went.");
    check("‘We wait.’ ¦ The officer waited.");
    check("\"Enough!\" -- that was the word.");
    check("The film “Who Goes?” was a hit.");
}

#[test]
fn ellipses() {
    check("We waited ... and waited. ¦ Nothing.");
    check("“We will see…” ¦ He left.");
    check("It was late . . . ¦ The lamps went out.");
    check("I thought … I would stay.");
}

#[test]
fn datelines_stay() {
    check("OSLO, May 3 (Newsline) -- President Dahl resigned. ¦ She gave no reason.");
    check("BERGEN (Newsline) - The port reopened.");
    check("ALBANY, N.Y. (Newsline) — Lawmakers met.");
    check("TACOMA, Wash. — A ferry sank. ¦ All were saved.");
}

#[test]
fn scraped_text() {
    check("The streak ended . ¦ Olsen had won nine games .");
    check("He said \" Not so . \" ¦ The hall emptied .");
    check("The match ended.¦The crowd went home.");
    check("“It ended.”¦The crowd went home.");
    check("“We won.¦” said nobody".replace('¦', "").as_str());
    check("Visit salon.example.Com today");
    check("He uses node.js daily. ¦ It works.");
}

#[test]
fn lists_count() {
    check("1. Raise the tax. ¦ It is low.");
    check_paragraphs(
        "We ask for\n- more buses\n- fewer cars\n1. Now.",
        &[
            (0, "We ask for"),
            (1, "- more buses"),
            (2, "- fewer cars"),
            (3, "1. Now."),
        ],
    );
}

#[test]
fn lines_and_paragraphs() {
    check_paragraphs("", &[]);
    check_paragraphs(" \n\t\u{a0}\r\n", &[]);
    check_paragraphs(
        "Port reopens\r\nBy Ada Cole\r\n\r\nThe port is open. It is busy.\r\n",
        &[
            (0, "Port reopens"),
            (1, "By Ada Cole"),
            (2, "The port is open."),
            (2, "It is busy."),
        ],
    );
    let wrapped = "The port of Bergen reopened on Friday after a strike\n\
                   that had kept ferries and freighters away for nine\n\
                   days. Dockers voted for the offer.\n\
                   Shops filled again.";
    check_paragraphs(
        wrapped,
        &[
            (
                0,
                "The port of Bergen reopened on Friday after a strike\n\
                 that had kept ferries and freighters away for nine\ndays.",
            ),
            (0, "Dockers voted for the offer."),
            (1, "Shops filled again."),
        ],
    );
    check_paragraphs("A\0b\u{1}. C\u{7f}", &[(0, "A\0b\u{1}."), (0, "C\u{7f}")]);
}

#[test]
fn hostile_texts_are_cut_to_the_end() {
    // Quadratic work would take minutes here.
    for piece in ["word ", "(", "\"", "'", ". ", ".\"", "?! ", "a\n", "‘a "] {
        let text = piece.repeat(200_000);
        let end = sentences(&text).last().map(|s| s.range.end);
        assert_eq!(end, Some(text.trim_end().len()), "{piece:?}");
    }
}

/// Text rich in what the rules look at.
fn newsy() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        ".", "!", "?", "…", "\"", "'", "''", "“", "”", "‘", "’", "(", ")", "[1]", " ", " ", "\n",
        "\r\n", "\n\n", "U.S.", "Mr.", "p.m.", "The", "he", "said", "Olsen", "10", ",", "—", "é",
        "。", "\u{2028}", "- ", "\0", "¹",
    ]);
    prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
}

fn holds(text: &str) {
    let found = sentences(text);
    let mut at = 0;
    let mut paragraph = 0;
    for sentence in &found {
        assert!(sentence.range.start >= at && sentence.range.end > sentence.range.start);
        assert!(text[at..sentence.range.start].trim().is_empty());
        let inner = &text[sentence.range.clone()];
        assert_eq!(inner, inner.trim());
        assert!(sentence.paragraph == paragraph || sentence.paragraph == paragraph + 1);
        (at, paragraph) = (sentence.range.end, sentence.paragraph);
    }
    assert!(text[at..].trim().is_empty());
    assert!(found.first().is_none_or(|first| first.paragraph == 0));
}

proptest! {
    #[test]
    fn covers_any_text(text in any::<String>()) {
        holds(&text);
    }

    #[test]
    fn covers_newsy_text(text in newsy()) {
        holds(&text);
    }
}

#[test]
fn none_ends_in_a_list_of_links() {
    check(
        "Rep. Ada Quill Ada Jane QuillWho won? Nobody. The long night MORE (D-Tarn) left. ¦ She won. ¦ Who?",
    );
    check("Ada Quill Jr. Adam (Ada) Quill Jr.The Long Night. MORE left. ¦ He won.");
}
