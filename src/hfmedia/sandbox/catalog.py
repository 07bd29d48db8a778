"""Models of the simulated Hub and the providers that serve them.

The IDs are public and plausible; all media is rendered by the sandbox, never by these models.
"""

from __future__ import annotations

from typing import Any

import msgspec

T2I, T2V = "text-to-image", "text-to-video"
I2I, I2V = "image-to-image", "image-to-video"
IT2I, IT2V = "image-text-to-image", "image-text-to-video"
PROVIDERS = ("fal-ai", "replicate", "together", "novita", "nscale", "wavespeed", "zai-org", "hf-inference")
UNKNOWN_PROVIDER = "acme-images"
SDXL_VERSION = "7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc"
LIGHTNING_VERSION = "5599ed30703defd1d160a25a63321b4dec97101d98b4674bcc56e41f62f35637"


class ModelOffer(msgspec.Struct, frozen=True):
    """One provider's offer of one model."""

    provider: str
    provider_id: str
    task: str
    status: str = "live"
    adapter: str | None = None
    adapter_weights: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the Hub's JSON, without the provider name."""
        entry: dict[str, Any] = {"status": self.status, "providerId": self.provider_id, "task": self.task}
        if self.adapter:
            entry |= {"adapter": self.adapter, "type": "tag-filter"}
        if self.adapter_weights:
            entry["adapterWeightsPath"] = self.adapter_weights
        return entry | {"isModelAuthor": False}


class SandboxModel(msgspec.Struct, frozen=True):
    """One model of the Hub."""

    id: str
    task: str
    offers: tuple[ModelOffer, ...] = ()
    likes: int = 100
    base_model: str | None = None


def _model(name: str, task: str, offers: str, likes: int, base_model: str | None = None) -> SandboxModel:
    """Parse a model from lines `provider id [status] [lora=weights] [task=other]`."""
    parsed_offers: list[ModelOffer] = []
    for line in offers.strip().splitlines():
        provider, provider_id, *flags = line.split()
        weights = next((flag[5:] for flag in flags if flag.startswith("lora=")), None)
        offer_task = next((flag[5:] for flag in flags if flag.startswith("task=")), task)
        status = next((flag for flag in flags if "=" not in flag), "live")
        parsed_offers.append(
            ModelOffer(provider, provider_id, offer_task, status, "lora" if weights else None, weights)
        )
    return SandboxModel(name, task, tuple(parsed_offers), likes, base_model)


MODELS: tuple[SandboxModel, ...] = (
    _model(
        "black-forest-labs/FLUX.1-schnell",
        T2I,
        """fal-ai fal-ai/flux/schnell
        replicate black-forest-labs/flux-schnell
        together black-forest-labs/FLUX.1-schnell
        nscale black-forest-labs/FLUX.1-schnell
        wavespeed wavespeed-ai/flux-schnell
        zai-org glm-image-flash
        hf-inference black-forest-labs/FLUX.1-schnell
        acme-images flux-schnell""",
        4400,
    ),
    _model(
        "black-forest-labs/FLUX.1-dev",
        T2I,
        """fal-ai fal-ai/flux/dev
        replicate black-forest-labs/flux-dev
        together black-forest-labs/FLUX.1-dev
        wavespeed wavespeed-ai/flux-dev
        hf-inference black-forest-labs/FLUX.1-dev
        nscale black-forest-labs/FLUX.1-dev staging""",
        12400,
    ),
    _model(
        "black-forest-labs/FLUX.1-Kontext-dev",
        I2I,
        """fal-ai fal-ai/flux-kontext/dev
        replicate black-forest-labs/flux-kontext-dev
        together black-forest-labs/FLUX.1-kontext-dev
        wavespeed wavespeed-ai/flux-kontext-dev
        hf-inference black-forest-labs/FLUX.1-Kontext-dev""",
        2700,
    ),
    _model(
        "black-forest-labs/FLUX.1-Krea-dev",
        T2I,
        """fal-ai fal-ai/flux/krea
        replicate black-forest-labs/flux-krea-dev
        together black-forest-labs/FLUX.1-krea-dev
        wavespeed wavespeed-ai/flux-krea-dev error""",
        900,
    ),
    _model(
        "black-forest-labs/FLUX.2-dev",
        I2I,
        """fal-ai fal-ai/flux-2/edit
        together black-forest-labs/FLUX.2-dev
        wavespeed wavespeed-ai/flux-2-dev/edit staging""",
        1400,
    ),
    _model(
        "stabilityai/stable-diffusion-xl-base-1.0",
        T2I,
        f"""fal-ai fal-ai/fast-sdxl
        replicate stability-ai/sdxl:{SDXL_VERSION}
        together stabilityai/stable-diffusion-xl-base-1.0
        nscale stabilityai/stable-diffusion-xl-base-1.0
        hf-inference stabilityai/stable-diffusion-xl-base-1.0""",
        7000,
    ),
    _model(
        "stabilityai/stable-diffusion-3.5-large",
        T2I,
        """fal-ai fal-ai/stable-diffusion-v35-large
        replicate stability-ai/stable-diffusion-3.5-large
        wavespeed wavespeed-ai/stable-diffusion-3.5-large""",
        3200,
    ),
    _model(
        "stabilityai/stable-diffusion-3.5-medium",
        T2I,
        "replicate stability-ai/stable-diffusion-3.5-medium\nhf-inference stabilityai/stable-diffusion-3.5-medium error",
        900,
    ),
    _model("CompVis/stable-diffusion-v1-4", T2I, "hf-inference CompVis/stable-diffusion-v1-4", 6900),
    _model(
        "ByteDance/SDXL-Lightning",
        T2I,
        f"""fal-ai fal-ai/fast-lightning-sdxl
        replicate bytedance/sdxl-lightning-4step:{LIGHTNING_VERSION}
        nscale ByteDance/SDXL-Lightning-4step""",
        2100,
    ),
    _model(
        "Qwen/Qwen-Image",
        T2I,
        "fal-ai fal-ai/qwen-image\nreplicate qwen/qwen-image\nwavespeed wavespeed-ai/qwen-image/text-to-image\n"
        "together Qwen/Qwen-Image",
        2500,
    ),
    _model(
        "Qwen/Qwen-Image-Edit",
        I2I,
        "fal-ai fal-ai/qwen-image-edit\nreplicate qwen/qwen-image-edit\n"
        "wavespeed wavespeed-ai/qwen-image/edit\nhf-inference Qwen/Qwen-Image-Edit staging",
        2300,
    ),
    _model(
        "Qwen/Qwen-Image-Edit-2509",
        I2I,
        "fal-ai fal-ai/qwen-image-edit-plus\nreplicate qwen/qwen-image-edit-plus\n"
        "wavespeed wavespeed-ai/qwen-image/edit-plus",
        1200,
    ),
    _model("tencent/HunyuanImage-3.0", T2I, "fal-ai fal-ai/hunyuan-image/v3/text-to-image", 1000),
    _model(
        "HiDream-ai/HiDream-I1-Full", T2I, "fal-ai fal-ai/hidream-i1-full\nwavespeed wavespeed-ai/hidream-i1-full", 970
    ),
    _model("HiDream-ai/HiDream-E1-1", I2I, "fal-ai fal-ai/hidream-e1-1\nreplicate prunaai/hidream-e1.1", 150),
    _model(
        "Tongyi-MAI/Z-Image-Turbo",
        T2I,
        "fal-ai fal-ai/z-image/turbo\nwavespeed wavespeed-ai/z-image/turbo\nreplicate prunaai/z-image-turbo",
        3900,
    ),
    _model("playgroundai/playground-v2.5-1024px-aesthetic", T2I, "fal-ai fal-ai/playground-v25", 740),
    _model("Kwai-Kolors/Kolors", T2I, "fal-ai fal-ai/kolors\nnscale Kwai-Kolors/Kolors error", 900),
    _model("fal/AuraFlow-v0.3", T2I, "fal-ai fal-ai/aura-flow", 200),
    _model("zai-org/GLM-Image", T2I, "zai-org glm-image\nfal-ai fal-ai/glm-image", 1100),
    _model("zai-org/CogView4-6B", T2I, "zai-org cogview-4\nfal-ai fal-ai/cogview4", 260),
    _model("zai-org/CogVideoX-5b", T2V, "fal-ai fal-ai/cogvideox-5b\nreplicate chenxwh/cogvideox-5b staging", 640),
    _model(
        "Wan-AI/Wan2.2-T2V-A14B",
        T2V,
        """fal-ai fal-ai/wan/v2.2-a14b/text-to-video
        replicate wan-video/wan-2.2-t2v-fast
        together Wan-AI/Wan2.2-T2V-A14B
        novita wan-2.2-t2v
        wavespeed wavespeed-ai/wan-2.2/t2v-480p""",
        430,
    ),
    _model(
        "Wan-AI/Wan2.2-I2V-A14B",
        I2V,
        """fal-ai fal-ai/wan/v2.2-a14b/image-to-video
        together Wan-AI/Wan2.2-I2V-A14B
        wavespeed wavespeed-ai/wan-2.2/i2v-480p""",
        510,
    ),
    _model(
        "Wan-AI/Wan2.2-TI2V-5B",
        T2V,
        "fal-ai fal-ai/wan/v2.2-5b/text-to-video\nwavespeed wavespeed-ai/wan-2.2/t2v-5b-720p",
        420,
    ),
    _model(
        "Wan-AI/Wan2.1-T2V-14B",
        T2V,
        "fal-ai fal-ai/wan-t2v\nreplicate wavespeedai/wan-2.1-t2v-480p\nnovita wan-t2v",
        1400,
    ),
    _model(
        "Wan-AI/Wan2.1-T2V-1.3B", T2V, "novita wan-2.1-t2v-1.3b staging\nfal-ai fal-ai/wan/v2.1/1.3b/text-to-video", 400
    ),
    _model("Wan-AI/Wan2.1-I2V-14B-480P", I2V, "fal-ai fal-ai/wan-i2v\nwavespeed wavespeed-ai/wan-2.1/i2v-480p", 300),
    _model(
        "Lightricks/LTX-Video",
        T2V,
        "fal-ai fal-ai/ltx-video\nreplicate lightricks/ltx-video\nwavespeed wavespeed-ai/ltx-video",
        2000,
    ),
    _model("Lightricks/LTX-Video-0.9.7-dev", I2V, "fal-ai fal-ai/ltx-video-13b-dev/image-to-video", 70),
    _model(
        "Lightricks/LTX-2",
        I2V,
        "fal-ai fal-ai/ltx-2/image-to-video\ntogether Lightricks/LTX-2\nwavespeed wavespeed-ai/ltx-2/i2v",
        880,
    ),
    _model(
        "tencent/HunyuanVideo",
        T2V,
        "fal-ai fal-ai/hunyuan-video\nreplicate tencent/hunyuan-video\nnovita hunyuan-video-fast",
        2000,
    ),
    _model(
        "tencent/HunyuanVideo-I2V",
        I2V,
        "fal-ai fal-ai/hunyuan-video-image-to-video\nwavespeed wavespeed-ai/hunyuan-video/i2v error",
        300,
    ),
    _model("genmo/mochi-1-preview", T2V, "fal-ai fal-ai/mochi-v1\nreplicate genmoai/mochi-1 error", 1200),
    _model("acme/kite-diffusion", T2I, "acme-images kite-diffusion-1", 12),
    _model("acme/sleeping-model", T2I, "replicate acme/sleeping staging\ntogether acme/sleeping-model error", 8),
    _model("acme/unserved-model", T2I, "", 5),
    _model("acme/omni-edit", IT2I, "fal-ai fal-ai/omni-edit\nwavespeed wavespeed-ai/omni-edit", 33),
    _model("acme/omni-film", IT2V, "fal-ai fal-ai/omni-film\nwavespeed wavespeed-ai/omni-film", 31),
    _model(
        "nerijs/pixel-art-xl",
        T2I,
        "fal-ai fal-ai/lora lora=pixel-art-xl.safetensors\nreplicate stability-ai/sdxl-lora lora=pixel-art-xl.safetensors",
        520,
        "stabilityai/stable-diffusion-xl-base-1.0",
    ),
    _model(
        "strangerzonehf/Flux-Midjourney-Mix2-LoRA",
        T2I,
        """fal-ai fal-ai/flux-lora lora=mjV6.safetensors
        replicate black-forest-labs/flux-dev-lora lora=mjV6.safetensors
        wavespeed wavespeed-ai/flux-dev-lora lora=mjV6.safetensors""",
        690,
        "black-forest-labs/FLUX.1-dev",
    ),
    _model(
        "Remade-AI/Squish",
        I2V,
        "fal-ai fal-ai/wan-i2v-lora lora=squish_18.safetensors\nwavespeed wavespeed-ai/wan-2.1/i2v-480p-lora lora=squish_18.safetensors",
        140,
        "Wan-AI/Wan2.1-I2V-14B-480P",
    ),
    SandboxModel(
        "meta-llama/Llama-3.1-8B-Instruct",
        "text-generation",
        (
            ModelOffer("together", "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "conversational"),
            ModelOffer("novita", "meta-llama/llama-3.1-8b-instruct", "conversational"),
        ),
        5100,
    ),
)

MODELS_BY_ID: dict[str, SandboxModel] = {model.id: model for model in MODELS}


def offers_of(provider: str) -> dict[str, tuple[SandboxModel, ModelOffer]]:
    """Return a provider's offers: provider ID -> Hub model and offer (the first, where several share an ID)."""
    offers_by_id: dict[str, tuple[SandboxModel, ModelOffer]] = {}
    for model in MODELS:
        for offer in model.offers:
            if offer.provider == provider and offer.task != "conversational":
                offers_by_id.setdefault(offer.provider_id, (model, offer))
    return offers_by_id
