//! Multiplication in 8 bits with the tiles of AMX: registers of 16 rows of 64 bytes, and one instruction for the products of two.
//!
//! ```text
//!  tiles 4, 5: 16 rows x 64 codes each          tiles 6, 7: 16 groups of 4 steps x 16 columns each, as a panel holds them
//!  tiles 0 to 3: their products' sums, 16 rows x 16 columns each
//! ```
//! The standard library has no stable functions for these instructions, so they are written out. A process asks Linux once for
//! the state of the tiles (Intel, "Software Developer's Manual", volume 1, chapter 18; Linux, `Documentation/arch/x86/xstate.rst`).

use std::arch::asm;

use super::layer::Avx512;
use crate::gemm::Epilogue;
use crate::gemm_i8::{GROUP, GROUPS_OF_STEP, PackedI8, PanelGroup, ROWS_OF_STEP, RowsU8};
use crate::layer::bytes::{self, BYTE_ROWS_MAX, ByteSums, ByteTile, ByteTiles};
use crate::layer::simd::LANES;

/// Bytes of a tile's row.
const ROW_BYTES: usize = GROUPS_OF_STEP * GROUP;
/// Bytes between two groups of a panel, and between two rows of sums.
const GROUP_BYTES: usize = size_of::<PanelGroup>();
const SUM_BYTES: usize = size_of::<[[i32; LANES]; 2]>();

/// What the tiles hold: the operand of `ldtilecfg`.
#[repr(C, align(64))]
struct TileShapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// All eight tiles are full ones.
static SHAPES: TileShapes = TileShapes {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Whether the processor has tiles for bytes, and the system lets this process use them.
#[cfg(target_os = "linux")]
pub(crate) fn may_be_used() -> bool {
    use std::arch::x86_64::__cpuid_count;
    /// Bits of leaf 7 in `edx`: tiles, and products of bytes.
    const TILES_AND_BYTES: u32 = 1 << 24 | 1 << 25;
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    /// Leaf 0x1d of palette 1: 8 tiles of 1,024 bytes, 16 rows of 64 bytes. Some virtual machines leave it empty.
    const PALETTE: [u32; 3] = [1024 << 16 | 8192, 8 << 16 | 64, 16];
    let palette = __cpuid_count(0x1d, 1);
    let palette = [palette.eax, palette.ebx, palette.ecx];
    let has_tiles = __cpuid_count(7, 0).edx & TILES_AND_BYTES == TILES_AND_BYTES;
    if !has_tiles || (palette != PALETTE && palette != [0; 3]) {
        return false;
    }
    let answer: i64;
    // SAFETY: a call that changes nothing but which registers the system keeps for this process. A system that does not know it
    // answers with an error.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => answer, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XFEATURE_XTILEDATA,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    answer == 0
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
pub(crate) fn may_be_used() -> bool {
    false
}

/// Sums with tiles. The caller has found AMX for bytes, and [`may_be_used`] was true.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn gemm_i8_amx(
    left: &RowsU8,
    right: &PackedI8,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    // SAFETY: the operand has the layout that the instruction asks for. Shapes outlive this block: compiled code and the libraries that
    // it calls have no use for tiles.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack)) };
    let tiles = ByteTiles { most: BYTE_ROWS_MAX, step: ROWS_OF_STEP, multiply };
    bytes::gemm(Avx512(()), tiles, left, right, epilogue, out, out_stride);
    // SAFETY: gives the tiles back, so that the system need not keep them when it changes threads.
    unsafe { asm!("tilerelease", options(nomem, nostack)) };
}

/// The sums of up to 32 rows with a panel.
fn multiply(tile: ByteTile<'_>, sums: &mut ByteSums) {
    let ByteTile { left, stride, rows, padded, .. } = tile;
    let steps = padded.len() / GROUPS_OF_STEP;
    if steps == 0 {
        sums.0[..rows].fill([[0; LANES]; 2]);
        return;
    }
    let rows_read = rows.next_multiple_of(ROWS_OF_STEP);
    assert!(rows_read <= BYTE_ROWS_MAX && (rows_read - 1) * stride + steps * ROW_BYTES <= left.len());
    // SAFETY: as many rows of `stride` codes are in `left`, as many steps of groups in `padded`, and the sums have room for two
    // tiles of rows. The shapes of the tiles are set.
    unsafe {
        match rows_read {
            ROWS_OF_STEP => one_tile(left.as_ptr(), stride, padded.as_ptr(), steps, sums),
            _ => two_tiles(left.as_ptr(), stride, padded.as_ptr(), steps, sums),
        }
    }
}

/// The sums of 32 rows.
#[inline(always)]
unsafe fn two_tiles(
    left: *const u8,
    stride: usize,
    panel: *const PanelGroup,
    steps: usize,
    sums: &mut ByteSums,
) {
    // SAFETY: as the caller promises.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{left} + {stride}]",
            "tileloadd tmm5, [{lower} + {stride}]",
            "tileloadd tmm6, [{panel} + {group}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{panel} + {group} + 64]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm3, tmm5, tmm7",
            "add {left}, {row_bytes}",
            "add {lower}, {row_bytes}",
            "add {panel}, {step_bytes}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {sum}], tmm0",
            "tilestored [{sums} + {sum} + 64], tmm1",
            "tilestored [{sums} + {sum} + {lower_sums}], tmm2",
            "tilestored [{sums} + {sum} + {lower_sums} + 64], tmm3",
            left = inout(reg) left => _,
            lower = inout(reg) left.wrapping_add(ROWS_OF_STEP * stride) => _,
            panel = inout(reg) panel => _,
            steps = inout(reg) steps => _,
            stride = in(reg) stride,
            group = in(reg) GROUP_BYTES,
            sums = in(reg) sums.0.as_mut_ptr(),
            sum = in(reg) SUM_BYTES,
            row_bytes = const ROW_BYTES,
            step_bytes = const GROUPS_OF_STEP * GROUP_BYTES,
            lower_sums = const ROWS_OF_STEP * SUM_BYTES,
            out("tmm0") _,
            out("tmm1") _,
            out("tmm2") _,
            out("tmm3") _,
            out("tmm4") _,
            out("tmm5") _,
            out("tmm6") _,
            out("tmm7") _,
            options(nostack),
        );
    }
}

/// The sums of 16 rows.
#[inline(always)]
unsafe fn one_tile(
    left: *const u8,
    stride: usize,
    panel: *const PanelGroup,
    steps: usize,
    sums: &mut ByteSums,
) {
    // SAFETY: as the caller promises.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "2:",
            "tileloadd tmm4, [{left} + {stride}]",
            "tileloadd tmm6, [{panel} + {group}]",
            "tileloadd tmm7, [{panel} + {group} + 64]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "add {left}, {row_bytes}",
            "add {panel}, {step_bytes}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {sum}], tmm0",
            "tilestored [{sums} + {sum} + 64], tmm1",
            left = inout(reg) left => _,
            panel = inout(reg) panel => _,
            steps = inout(reg) steps => _,
            stride = in(reg) stride,
            group = in(reg) GROUP_BYTES,
            sums = in(reg) sums.0.as_mut_ptr(),
            sum = in(reg) SUM_BYTES,
            row_bytes = const ROW_BYTES,
            step_bytes = const GROUPS_OF_STEP * GROUP_BYTES,
            out("tmm0") _,
            out("tmm1") _,
            out("tmm4") _,
            out("tmm6") _,
            out("tmm7") _,
            options(nostack),
        );
    }
}
