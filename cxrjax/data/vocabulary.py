"""Findings and the words that hospitals and data sets write for them: plain data, read by `cxrjax.data.labels`.

Sources: NIH ChestX-ray14 (Wang et al. 2017), CheXpert (Irvin et al. 2019), VinDr-CXR (Nguyen et al. 2022), PadChest
(Bustos et al. 2020), the Fleischner Society's glossary (Hansell et al. 2008). A word stands here only where it names
the finding and nothing else: "opacity", "virus", "COVID-19" alone, "negative" and "no acute disease" are not read.
"""

from __future__ import annotations

NO_FINDING = "No Finding"
DEVICES = "Support Devices"  # not a finding of the lungs: No Finding may stand beside it (CheXpert)
PNEUMONIA = "Pneumonia"

# Finding, as labels spell it -> what else names it; case, blanks, hyphens, underscores, accents and plurals are free.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("atelectases", "atelectasia"),
    "Cardiomegaly": (
        "enlarged heart", "heart enlargement", "cardiac enlargement", "enlarged cardiac silhouette", "cardiomegalia",
    ),
    "Consolidation": ("lung consolidation", "pulmonary consolidation", "airspace consolidation", "consolidacion"),
    "Edema": ("oedema", "pulmonary edema", "pulmonary oedema", "lung edema", "lung oedema", "edema pulmonar"),
    "Effusion": ("pleural effusion", "pleural fluid", "hydrothorax", "derrame pleural"),
    "Emphysema": ("lung emphysema", "pulmonary emphysema", "enfisema"),
    "Fibrosis": ("lung fibrosis", "pulmonary fibrosis", "fibrosis pulmonar"),
    "Hernia": ("hiatal hernia", "hiatus hernia", "diaphragmatic hernia", "hernia de hiato"),
    "Infiltration": (
        "infiltrate", "lung infiltrate", "lung infiltration", "pulmonary infiltrate", "pulmonary infiltration",
        "infiltrado",
    ),
    "Mass": ("lung mass", "pulmonary mass", "masa", "masa pulmonar"),
    "Nodule": ("lung nodule", "pulmonary nodule", "nodulo", "nodulo pulmonar"),
    "Pleural_Thickening": ("thickened pleura", "thickening of the pleura", "pt", "engrosamiento pleural"),
    PNEUMONIA: ("neumonia",),
    "Pneumothorax": ("pneumothoraces", "neumotorax"),
    NO_FINDING: (
        "normal", "healthy", "healthy control", "no abnormal finding", "no abnormality", "no abnormality detected",
        "no abnormality found", "no abnormality seen", "without finding", "without abnormality", "unremarkable",
        "within normal limits", "sin hallazgos", "sano",
    ),
    "Enlarged Cardiomediastinum": ("widened mediastinum", "mediastinal widening", "enlarged mediastinum"),
    "Lung Opacity": ("pulmonary opacity", "airspace opacity"),
    "Lung Lesion": ("pulmonary lesion",),
    "Pleural Other": (),
    "Fracture": ("rib fracture", "bone fracture", "fractura"),
    DEVICES: ("medical device", "implanted device"),
    "Tuberculosis": ("tb", "pulmonary tuberculosis", "lung tuberculosis", "pulmonary tb", "tuberculosis pulmonar"),
}  # fmt: skip

# What may stand before, behind or below ("/") the word pneumonia and says only which: by germ, course or place.
PNEUMONIA_KINDS = (
    "viral", "virus", "bacterial", "bacteria", "fungal", "fungus", "lipoid", "aspiration", "lobar", "bronchial",
    "interstitial", "atypical", "typical", "acute", "chronic", "organizing", "organising", "cryptogenic",
    "necrotizing", "necrotising", "eosinophilic", "community acquired", "hospital acquired", "nosocomial",
    "ventilator associated", "covid", "covid 19", "covid19", "sars", "sars cov", "sars cov 2", "mers", "mers cov",
    "influenza", "h1n1", "varicella", "herpes", "rsv", "adenovirus", "cmv", "streptococcus", "staphylococcus", "mrsa",
    "klebsiella", "legionella", "mycoplasma", "chlamydia", "chlamydophila", "haemophilus", "e coli",
    "escherichia coli", "pseudomonas", "nocardia", "pneumocystis", "aspergillosis", "aspergillus", "candida",
)  # fmt: skip
# What may stand beside any finding and says only where or how much; and beside any label, only what it is a label of.
QUALIFIERS = (
    "left", "right", "bilateral", "unilateral", "small", "large", "mild", "moderate", "severe", "minimal", "diffuse",
    "focal", "multiple", "multifocal", "upper lobe", "middle lobe", "lower lobe",
)  # fmt: skip
FILLERS = ("case", "image", "patient", "chest", "lung", "x ray", "xray", "cxr", "chest x ray", "radiograph", "class")

MISSING = (
    "nan", "na", "n a", "null", "none", "nil", "unknown", "unlabeled", "unlabelled", "missing", "not available",
    "not labeled", "not labelled", "not known", "not mentioned", "not reported", "indeterminate",
)  # fmt: skip
AND = ("and", "with", "y", "con")
NEGATIONS = ("no", "not", "non", "without", "no evidence of", "no sign of", "negative for", "absence of", "sin")
NEGATED = ("absent", "negative", "no", "not present", "false")  # behind a finding: "pneumonia: absent"
HEDGES = (
    "possible", "possibly", "probable", "probably", "suspected", "suspicion of", "suspicious for", "likely",
    "questionable", "uncertain", "equivocal", "maybe", "posible",
)  # fmt: skip
HEDGED = ("possible", "probable", "suspected", "uncertain", "questionable", "equivocal", "likely")
AFFIRMED = ("present", "positive", "yes", "true")  # behind a finding: "pneumonia: present"

# Values of a 0/1 column.
ONES, ZEROS, UNCERTAIN = ("1", "true", "yes", "y", "t"), ("0", "false", "no", "n", "f"), ("-1",)
