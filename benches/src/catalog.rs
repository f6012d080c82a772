//! Every bench by name: what it measures, in which suite, and what of it has no subject yet.
//!
//! The names and the titles of the groups are those of the documents that the project began with, so that a command or a
//! query written from them finds what it asks for. A title in a list stands for all that its braces spell:
//! `dream_generation/{1000,10000}` are two. The [`Recorder`](crate::Recorder) refuses a measurement that is not in this list, and a test
//! refuses a promise about one that is not.
//!
//! What has no subject is never measured and never made up: its rows say `skipped`, with the reason that stands here.

/// One file of `benches/`, run by `cargo bench --bench <name>`.
#[derive(Debug, Clone, Copy)]
pub struct Bench {
    /// Name of the target.
    pub name: &'static str,
    /// Suite of its rows.
    pub suite: &'static str,
    /// What it measures.
    pub groups: &'static [Group],
}

/// Titles with the same fate.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// As criterion prints them, `{a,b}` standing for two.
    pub titles: &'static str,
    /// What is measured first of them; a row that is skipped carries it.
    pub metric: &'static str,
    /// Why they are not measured; none if they are.
    pub absent: Option<&'static str>,
}

const fn measured(titles: &'static str) -> Group {
    Group { titles, metric: "wall_ns", absent: None }
}

const fn absent(titles: &'static str, reason: &'static str) -> Group {
    Group { titles, metric: "wall_ns", absent: Some(reason) }
}

const fn absent_metric(titles: &'static str, metric: &'static str, reason: &'static str) -> Group {
    Group { titles, metric, absent: Some(reason) }
}

const NO_SONA: &str = "learning from trajectories is not in this build";
const NO_MILLION: &str =
    "a set of a million vectors is not drawn: it alone is 1 GB, and its exact neighbours take minutes";
const NO_DIFFUSION: &str = "the diffusion model is not in this build";
const NO_GPU_CODE: &str = "kernels for a GPU are not in this build";
const NO_FEDERATION: &str = "federated averaging is not in this build";
const NO_TRM: &str = "the recursive reasoning model is not in this build";
const NO_RUNTIME: &str = "the runtime of language models is not in this build";
const NO_WEIGHTS: &str = "weight dynamics are not in this build";
const NO_ENCODER: &str = "one shipped encoder is in this build, `encoder_xs`";
const NO_SERVICE: &str = "an embedding service of others is not called";
const NO_STRESS: &str = "the verb `stress compile` is not in this build";
const NO_SERVE: &str = "the verb `serve` is not in this build";
const NO_DATA: &str = "measured over data sets by the quality tests of the models, not by a bench";

/// All benches, by name.
pub const BENCHES: &[Bench] = &[
    Bench {
        name: "attention_bench",
        suite: "llm",
        groups: &[
            absent("flash_attention_512", NO_RUNTIME),
            absent("attention/{standard,flash,paged,gqa}/{128,256,512,1024,2048}", NO_RUNTIME),
            absent("kv/{append,migrate}", NO_RUNTIME),
        ],
    },
    Bench {
        name: "compile",
        suite: "compiler",
        groups: &[measured("compile/{parse,check,plan}/{crate_docs,200_lines}")],
    },
    Bench {
        name: "compression",
        suite: "compression",
        groups: &[
            measured(
                "compression/{copy,tok,structural,exact_dedup,minhash,passage_score,sentence_score,clause_score}",
            ),
            measured("compression/{linear_scorer,selection,token_unigram,two_threads}"),
        ],
    },
    Bench {
        name: "compression_performance",
        suite: "compression",
        groups: &[
            measured(
                "compression_performance/{technical,code,natural,mixed}/{0.3,0.5,0.7,lossless,structural}",
            ),
            absent("compression_performance/mixed/lm_scored", NO_RUNTIME),
            absent_metric(
                "compression_quality/{long_contexts,scientific,ten_passages}/4x",
                "retention",
                NO_DATA,
            ),
            absent_metric("compression_quality/paragraph/2x", "retention", NO_DATA),
        ],
    },
    Bench {
        name: "dgr",
        suite: "diffusion",
        groups: &[absent("dgr_overhead/{uncertainty,selection,retrieval,total}", NO_DIFFUSION)],
    },
    Bench {
        name: "diffusion_quality",
        suite: "diffusion",
        groups: &[
            absent_metric("quality/perplexity_{1,2,3,4}", "perplexity", NO_DIFFUSION),
            absent_metric("quality/{bleu,bleu_translation}", "bleu", NO_DIFFUSION),
            absent_metric("quality/{rouge_l,pass_at_1,infill}", "accuracy", NO_DIFFUSION),
        ],
    },
    Bench {
        name: "dreams",
        suite: "sona",
        groups: &[
            absent("dream_generation/{1000,10000,50000}", NO_SONA),
            absent("dream_evaluation", NO_SONA),
        ],
    },
    Bench {
        name: "e2e_bench",
        suite: "llm",
        groups: &[
            absent("{prefill,decode,ttft}/{m,110m}", NO_RUNTIME),
            absent("{prefill,decode,ttft}/7b", NO_RUNTIME),
            absent_metric("decode", "alloc_bytes", NO_RUNTIME),
            absent(
                "{latency_breakdown,controller,micro_lora_layers,instant_loop,background_loop}",
                NO_RUNTIME,
            ),
            absent("batch/{1,4,8,16}", NO_RUNTIME),
            absent_metric("quality/{kv_store,kv_q8,kv_q4}", "perplexity", NO_RUNTIME),
        ],
    },
    Bench {
        name: "e2e_main_job",
        suite: "e2e",
        groups: &[measured("e2e_main_job/{cold,unchanged,one_changed}")],
    },
    Bench {
        name: "embedding_generation",
        suite: "embedding",
        groups: &[
            measured("embedding_generation/hashed_ngram/{1,32,100}"),
            measured("embedding_generation/{bert,encoder_33_tokens}/{1,8,32}"),
            measured("embedding_generation/encoder_xs/{1,32,100}"),
            measured("embedding_generation/static/{1,32,100}"),
            measured("embedding_generation/static_128_tokens/32"),
            measured("embedding_generation/wordpiece"),
            measured("embedding_generation/bpe/{cold,warm}"),
            absent("embedding_generation/encoder_s/{1,32,100}", NO_ENCODER),
            absent("embedding_generation/service/100", NO_SERVICE),
            absent_metric(
                "embedding_generation/cache/zipf",
                "hit_rate",
                "a cache of embeddings with a trace of its own is not in this build",
            ),
        ],
    },
    Bench {
        name: "ewc",
        suite: "sona",
        groups: &[absent("{fisher_update,ewc_constraints}/{1000,10000,100000}", NO_SONA)],
    },
    Bench {
        name: "federation",
        suite: "diffusion",
        groups: &[
            absent("federation_round/{aggregate,distribute,protocol,total}", NO_FEDERATION),
            absent_metric("federation_round/bytes", "size_bytes", NO_FEDERATION),
            absent_metric("{federation_convergence,federation_attackers}", "accuracy", NO_FEDERATION),
        ],
    },
    Bench {
        name: "gemm",
        suite: "kernels",
        groups: &[absent(
            "gemm/{f32,bf16,q4k,q8}/{256,1024,2048,4096}/{1,2,10}",
            "products of square matrices, on several threads and of other types are not in this build; `kernels` has f32 in an encoder's shape",
        )],
    },
    Bench {
        name: "history",
        suite: "e2e",
        groups: &[measured("history/{shipped_queries,one_benchmark,gate}")],
    },
    Bench {
        name: "inference_latency",
        suite: "diffusion",
        groups: &[
            absent(
                "inference_latency/{own_s,own_m,cpu_avx2_7b,cpu_avx512_7b,cpu_neon_7b,cpu_scalar_7b}",
                NO_DIFFUSION,
            ),
            absent("inference_latency/{gpu_7b,gpu_13b}", NO_GPU_CODE),
            absent_metric("throughput/{own_s,own_m,cpu_7b,neon_7b,scalar_7b}", "throughput", NO_DIFFUSION),
            absent_metric("throughput/{gpu_7b_b1,gpu_7b_b8}", "throughput", NO_GPU_CODE),
            absent("steps/{1,2,4,8,16}", NO_DIFFUSION),
        ],
    },
    Bench {
        name: "kernels",
        suite: "kernels",
        groups: &[
            measured("{dot_f32,l2_f32,cosine_f32}_{reference,portable,avx2,avx512,amx}/{64,512,2048,scan}"),
            measured("gemm_f32_{reference,portable,avx2,avx512,amx}/{33x384x1536,512x384x1536}"),
            measured(
                "gemm_i8_{reference,portable,avx2,avx512,amx}/{33x384x1536,512x384x1536,round_33x384,round_512x384,keys_128x32,values_128x32,shares_128x128}",
            ),
            measured(
                "{gelu_f32,softmax_f32,layer_norm_f32}_{reference,portable,avx2,avx512,amx}/{33,384,1536}",
            ),
        ],
    },
    Bench {
        name: "loops",
        suite: "sona",
        groups: &[
            absent("{loop_a_on_inference,loop_a_flush}", NO_SONA),
            absent("loop_b_cycle", NO_SONA),
            absent("loop_b_cycle/phase_{1,2,3,4,5,6,7}", NO_SONA),
            absent("loop_c_cycle", NO_SONA),
            absent("loop_c_cycle/phase_{1,2,3,4,5,6}", NO_SONA),
            absent_metric("query_throughput/{baseline,micro,full}", "throughput", NO_SONA),
        ],
    },
    Bench {
        name: "lora_bench",
        suite: "sona",
        groups: &[
            absent("{base_lora_forward,base_lora_forward_batch}/rank{4,8,16}/{512,1024,2048}", NO_SONA),
            absent("multi_adapter/8x16", NO_SONA),
        ],
    },
    Bench {
        name: "memory",
        suite: "e2e",
        groups: &[
            absent_metric(
                "memory/{micro_lora,base_lora,trajectory_buffer,pattern_index,ewc,dreams,sona_total}",
                "rss_peak_bytes",
                NO_SONA,
            ),
            absent_metric("memory/{trm_engine,trm_sona}", "rss_peak_bytes", NO_TRM),
            absent_metric(
                "memory/{model_7b_q4,kv_2048_q8,talora_100k,own_s,own_m,working,peak}",
                "rss_peak_bytes",
                NO_DIFFUSION,
            ),
            absent_metric(
                "memory/{model_q4k,model_q8,llm_7b_q4k,kv_tail,kv_store,kv_full,kv_two_tier,kv_gqa_4,kv_gqa_8}",
                "size_bytes",
                NO_RUNTIME,
            ),
            absent_metric("memory/weights_{f32,f16,q8,q4k,q4}", "size_bytes", NO_RUNTIME),
            absent_metric(
                "memory/{weight_base,weight_context,weight_contexts_1000,weight_contexts_10000}",
                "rss_peak_bytes",
                NO_WEIGHTS,
            ),
        ],
    },
    Bench {
        name: "micro_lora",
        suite: "sona",
        groups: &[
            absent(
                "{micro_lora_forward,micro_lora_forward_reference}/rank{1,2}/{256,512,1024,2048}",
                NO_SONA,
            ),
            absent("gradient_accumulation/{256,512,1024}", NO_SONA),
            absent("micro_lora_update", NO_SONA),
        ],
    },
    Bench {
        name: "patterns",
        suite: "sona",
        groups: &[
            absent("pattern_extraction/{100,500,1000,5000}", NO_SONA),
            measured("pattern_search/{1000,10000,100000,uniform_10000}"),
            measured("{pattern_search,pattern_index}/hnsw_{10000,100000,uniform_10000}"),
            measured("{pattern_search_batch,pattern_index}/100000"),
            measured("pattern_index/lists_100000"),
            absent("pattern_search/1000000", NO_MILLION),
        ],
    },
    Bench {
        name: "retrieve",
        suite: "embedding",
        groups: &[
            measured("retrieve/{bm25,flat}/{1000,10000}"),
            measured("retrieve_build/{bm25,flat}/{1000,10000}"),
        ],
    },
    Bench {
        name: "storage_performance",
        suite: "storage",
        groups: &[
            measured("storage_performance/{single_write,batch_100,point_read_hot,point_read_cold,mixed}/1kb"),
            measured("storage_performance/synced_write/{1_writer,64_writers}"),
            measured("storage_performance/{range_100,space}/1kb"),
            absent_metric(
                "storage_performance/space/blocks",
                "saved_ratio",
                "values in blocks with zstd are not how the store keeps rows",
            ),
        ],
    },
    Bench {
        name: "talora",
        suite: "diffusion",
        groups: &[
            absent("talora_retrieval/{10000,100000}", NO_DIFFUSION),
            absent("talora_retrieval_batch/10", NO_DIFFUSION),
            absent("{talora_index_build,micro_lora_total}", NO_DIFFUSION),
        ],
    },
    Bench {
        name: "trajectory",
        suite: "sona",
        groups: &[
            absent("trajectory_recording/h{256,512}_heads{4,8}", NO_SONA),
            absent("{trajectory_buffer_record,trajectory_buffer_drain,buffer_contention}", NO_SONA),
        ],
    },
    Bench {
        name: "trm_latency",
        suite: "trm",
        groups: &[
            absent("Single Latent Update/MLP/{64,128,256,512}", NO_TRM),
            absent("Answer Refinement (256d, 10 tokens)", NO_TRM),
            absent("Confidence Scoring", NO_TRM),
            absent("Full TRM K-Iterations/K/{1,2,5,10,15,20}", NO_TRM),
            absent("MLP vs Attention/{MLP,Attention} K=10", NO_TRM),
            absent("Throughput/{Single Thread,Concurrent 8 Threads} K=5", NO_TRM),
        ],
    },
    Bench {
        name: "trm_quality",
        suite: "trm",
        groups: &[
            absent_metric("{sudoku_extreme,maze_hard,k_prediction,learning_convergence}", "accuracy", NO_TRM),
            absent_metric("{wasm_size,wasm_size_gz}", "size_bytes", NO_TRM),
        ],
    },
    Bench {
        name: "weight_dynamics",
        suite: "weight_dynamics",
        groups: &[
            absent("weight_dynamics/convergence/{512,1024,2048,4096}", NO_WEIGHTS),
            absent("weight_dynamics/{patch,recovery}/512", NO_WEIGHTS),
        ],
    },
];

/// Measurements of verbs rather than of a file here: the doors `benches/*.sh`, and the gate measured on itself.
pub const VERBS: &[Bench] = &[
    Bench { name: "bench_aa", suite: "e2e", groups: &[measured("bench/{aa,power_10}")] },
    Bench {
        name: "concurrent_load_test",
        suite: "service",
        groups: &[absent("concurrent_load/{serve,serve_cached}", NO_SERVE)],
    },
    Bench {
        name: "production_simulation",
        suite: "service",
        groups: &[absent("production_simulation/compile", NO_STRESS)],
    },
];

/// The bench of this name.
#[must_use]
pub fn bench(name: &str) -> Option<&'static Bench> {
    BENCHES.iter().find(|bench| bench.name == name)
}

impl Group {
    /// Every title that the braces spell, in order.
    #[must_use]
    pub fn each(&self) -> Vec<String> {
        expand(self.titles)
    }
}

impl Bench {
    /// Whether nothing of it can be measured in this build.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.groups.iter().all(|group| group.absent.is_some())
    }
}

fn expand(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once('{') else { return vec![text.to_owned()] };
    let (choices, after) = rest.split_once('}').expect("invariant: a test reads every list of titles");
    let after = expand(after);
    let joined =
        |choice: &str| after.iter().map(|after| format!("{before}{choice}{after}")).collect::<Vec<_>>();
    choices.split(',').flat_map(joined).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn braces_spell_every_title() {
        assert_eq!(expand("a"), ["a"]);
        assert_eq!(expand("{a,b}/x_{1,2}"), ["a/x_1", "a/x_2", "b/x_1", "b/x_2"]);
    }

    #[test]
    fn names_and_titles_are_unique() {
        let names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        assert!(names.is_sorted());
        let mut seen = BTreeSet::new();
        for title in BENCHES.iter().chain(VERBS).flat_map(|bench| bench.groups).flat_map(Group::each) {
            assert!(seen.insert(title.clone()), "{title}");
        }
        assert!(seen.len() > 200);
    }

    #[test]
    fn every_bench_is_a_target_with_its_file() {
        let manifest = include_str!("../Cargo.toml");
        let named =
            |line: &str| line.strip_prefix("name = \"").map(|rest| rest.trim_end_matches('"').to_owned());
        let of_manifest: Vec<String> = manifest.lines().filter_map(named).skip(1).collect();
        let of_list: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        assert_eq!(of_manifest, of_list, "Cargo.toml and the list name the same benches in the same order");
        for bench in BENCHES {
            let path = crate::place::root().join("benches").join(format!("{}.rs", bench.name));
            let text = std::fs::read_to_string(&path).unwrap();
            let is_one_line = text.contains(&format!("recorder::absent(\"{}\")", bench.name));
            assert_eq!(is_one_line, bench.is_absent(), "{}", bench.name);
            assert!(
                is_one_line || text.contains(&format!("Recorder::start(\"{}\")", bench.name)),
                "{}",
                bench.name
            );
        }
    }

    #[test]
    fn the_eight_scripts_are_doors() {
        let folder = crate::place::root().join("benches");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "sh") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines[..2], ["#!/bin/sh", "set -eu"], "{path:?}");
            assert!(lines.len() <= 4, "{path:?} does more than call");
            names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
        names.sort();
        assert_eq!(
            names,
            [
                "compilation_pipeline_bench",
                "concurrent_load_test",
                "memory_stability_test",
                "production_simulation",
                "regression_analysis",
                "setup_ci_benchmarks",
                "storage_stress_test",
                "weight_convergence_test",
            ]
        );
    }
}
