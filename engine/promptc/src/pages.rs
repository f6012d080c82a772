//! The pages of diagnostic codes, as `promptc explain CODE` shows them.

use promptc_engine::compiler::diagnostic::Code;

macro_rules! pages {
    ($($code:ident)*) => {
        /// The page of a code, in Markdown.
        pub(crate) fn page(code: Code) -> &'static str {
            match code {
                $(Code::$code => include_str!(concat!("../../../grammar/errors/", stringify!($code), ".md")),)*
            }
        }
    };
}

pages! {
    E0101 E0102 E0103 E0104 E0105 E0106 E0107 E0108 E0109 E0110 E0201 E0202
    E0203 E0204 E0205 E0206 E0207 E0208 E0209 E0301 E0302 E0303 E0304 E0305
    E0306 E0307 E0308 E0309 E0310 E0311 E0312 E0313 E0314 E0401 E0402 E0403
    E0404 E0405 E0501 E0502 E0503 E0504 E0505 E0601 E0602 E0603 E0604 E0605
    E0606 E0607 E0608 E1001 E1002 E1003 E1004 E1005 E1006 E1007 E2001 E2002 E2101
    E2102 E2103 E2104 E2105 E2201 E2202 E2303 E2401 E2501 W0101 W0102 W0201 W0202
    W0203 W0401 W0402 W0403 W0404 W0501 W0502 W0503 W0601 W0602 W2201 W2202 W2301 W2302 W2402
    W2403 W2404 W2405
}
