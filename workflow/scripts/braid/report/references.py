"""The works that a methods text cites."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """One work.

    Attributes
    ----------
    short : str
        As cited in the text, for example `Hoerl & Kennard 1970`.
    full : str
        Authors, year, title, source.
    doi : str
        Without the resolver's address; empty if the work has none.
    """

    short: str
    full: str
    doi: str = ""


REFERENCES: dict[str, Reference] = {
    "snakemake": Reference(
        "Mölder et al. 2021",
        "Mölder F, Jablonski KP, Letcher B, et al. (2021). Sustainable data analysis with "
        "Snakemake. F1000Research 10:33.",
        "10.12688/f1000research.29032.2",
    ),
    "bids": Reference(
        "Gorgolewski et al. 2016",
        "Gorgolewski KJ, Auer T, Calhoun VD, et al. (2016). The brain imaging data structure, a "
        "format for organizing and describing outputs of neuroimaging experiments. Scientific "
        "Data 3:160044.",
        "10.1038/sdata.2016.44",
    ),
    "ieeg-bids": Reference(
        "Holdgraf et al. 2019",
        "Holdgraf C, Appelhoff S, Bickel S, et al. (2019). iEEG-BIDS, extending the Brain Imaging "
        "Data Structure specification to human intracranial electrophysiology. Scientific Data "
        "6:102.",
        "10.1038/s41597-019-0105-7",
    ),
    "mne": Reference(
        "Gramfort et al. 2013",
        "Gramfort A, Luessi M, Larson E, et al. (2013). MEG and EEG data analysis with "
        "MNE-Python. Frontiers in Neuroscience 7:267.",
        "10.3389/fnins.2013.00267",
    ),
    "mne-bids": Reference(
        "Appelhoff et al. 2019",
        "Appelhoff S, Sanderson M, Brooks TL, et al. (2019). MNE-BIDS: Organizing "
        "electrophysiological data into the BIDS format and facilitating their analysis. Journal "
        "of Open Source Software 4(44):1896.",
        "10.21105/joss.01896",
    ),
    "nilearn": Reference(
        "Abraham et al. 2014",
        "Abraham A, Pedregosa F, Eickenberg M, et al. (2014). Machine learning for neuroimaging "
        "with scikit-learn. Frontiers in Neuroinformatics 8:14.",
        "10.3389/fninf.2014.00014",
    ),
    "fmriprep": Reference(
        "Esteban et al. 2019",
        "Esteban O, Markiewicz CJ, Blair RW, et al. (2019). fMRIPrep: a robust preprocessing "
        "pipeline for functional MRI. Nature Methods 16:111-116.",
        "10.1038/s41592-018-0235-4",
    ),
    "ridge": Reference(
        "Hoerl & Kennard 1970",
        "Hoerl AE, Kennard RW (1970). Ridge regression: biased estimation for nonorthogonal "
        "problems. Technometrics 12(1):55-67.",
        "10.1080/00401706.1970.10488634",
    ),
    "huth": Reference(
        "Huth et al. 2016",
        "Huth AG, de Heer WA, Griffiths TL, Theunissen FE, Gallant JL (2016). Natural speech "
        "reveals the semantic maps that tile human cerebral cortex. Nature 532:453-458.",
        "10.1038/nature17637",
    ),
    "tikhonov": Reference(
        "Nunez-Elizalde et al. 2019",
        "Nunez-Elizalde AO, Huth AG, Gallant JL (2019). Voxelwise encoding models with "
        "non-spherical multivariate normal priors. NeuroImage 197:482-492.",
        "10.1016/j.neuroimage.2019.04.012",
    ),
    "himalaya": Reference(
        "Dupré la Tour et al. 2022",
        "Dupré la Tour T, Eickenberg M, Nunez-Elizalde AO, Gallant JL (2022). Feature-space "
        "selection with banded ridge regression. NeuroImage 264:119728.",
        "10.1016/j.neuroimage.2022.119728",
    ),
    "fdr": Reference(
        "Benjamini & Hochberg 1995",
        "Benjamini Y, Hochberg Y (1995). Controlling the false discovery rate: a practical and "
        "powerful approach to multiple testing. Journal of the Royal Statistical Society B "
        "57(1):289-300.",
        "10.1111/j.2517-6161.1995.tb02031.x",
    ),
    "maxt": Reference(
        "Nichols & Holmes 2002",
        "Nichols TE, Holmes AP (2002). Nonparametric permutation tests for functional "
        "neuroimaging: a primer with examples. Human Brain Mapping 15(1):1-25.",
        "10.1002/hbm.1058",
    ),
    "pvalues": Reference(
        "Phipson & Smyth 2010",
        "Phipson B, Smyth GK (2010). Permutation p-values should never be zero: calculating "
        "exact p-values when permutations are randomly drawn. Statistical Applications in "
        "Genetics and Molecular Biology 9(1):39.",
        "10.2202/1544-6115.1585",
    ),
    "integration": Reference(
        "Subramaniam et al. 2024",
        "Subramaniam V, Conwell C, Wang C, Kreiman G, Katz B, Cases I, Barbu A (2024). Revealing "
        "vision-language integration in the brain with multimodal networks. ICML 2024. "
        "arXiv:2406.14481.",
        "10.48550/arXiv.2406.14481",
    ),
    "wilson": Reference(
        "Wilson 1927",
        "Wilson EB (1927). Probable inference, the law of succession, and statistical inference. "
        "Journal of the American Statistical Association 22(158):209-212.",
        "10.1080/01621459.1927.10502953",
    ),
    "torch": Reference(
        "Paszke et al. 2019",
        "Paszke A, Gross S, Massa F, et al. (2019). PyTorch: an imperative style, "
        "high-performance deep learning library. Advances in Neural Information Processing "
        "Systems 32.",
    ),
    "transformers": Reference(
        "Wolf et al. 2020",
        "Wolf T, Debut L, Sanh V, et al. (2020). Transformers: state-of-the-art natural language "
        "processing. EMNLP 2020, System Demonstrations, 38-45.",
        "10.18653/v1/2020.emnlp-demos.6",
    ),
    "sentence-transformers": Reference(
        "Reimers & Gurevych 2019",
        "Reimers N, Gurevych I (2019). Sentence-BERT: sentence embeddings using Siamese "
        "BERT-networks. EMNLP-IJCNLP 2019, 3982-3992.",
        "10.18653/v1/D19-1410",
    ),
    "open_clip": Reference(
        "Ilharco et al. 2021",
        "Ilharco G, Wortsman M, Wightman R, et al. (2021). OpenCLIP. Zenodo.",
        "10.5281/zenodo.5143773",
    ),
    "clip": Reference(
        "Radford et al. 2021",
        "Radford A, Kim JW, Hallacy C, et al. (2021). Learning transferable visual models from "
        "natural language supervision. ICML 2021, PMLR 139:8748-8763.",
    ),
    "vilt": Reference(
        "Kim et al. 2021",
        "Kim W, Son B, Kim I (2021). ViLT: vision-and-language transformer without convolution "
        "or region supervision. ICML 2021, PMLR 139:5583-5594.",
    ),
    "bert": Reference(
        "Devlin et al. 2019",
        "Devlin J, Chang MW, Lee K, Toutanova K (2019). BERT: pre-training of deep bidirectional "
        "transformers for language understanding. NAACL-HLT 2019, 4171-4186.",
        "10.18653/v1/N19-1423",
    ),
    "vit": Reference(
        "Dosovitskiy et al. 2021",
        "Dosovitskiy A, Beyer L, Kolesnikov A, et al. (2021). An image is worth 16x16 words: "
        "transformers for image recognition at scale. ICLR 2021.",
    ),
}
