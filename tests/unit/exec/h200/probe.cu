#include <cuda_fp16.h>
#include <cuda_bf16.h>
typedef unsigned u; typedef unsigned long long ull; typedef long long ll;
#define KERN(name) extern "C" __global__ void name(const u* a,const u* b,const u* c,u* o,int n)
#define I int i=blockIdx.x*blockDim.x+threadIdx.x; if(i>=n) return; u x=a[i],y=b[i],z=c[i]
__device__ float F(u x){return __uint_as_float(x);} __device__ u U(float x){return __float_as_uint(x);}
__device__ half2 H(u x){return *(half2*)&x;} __device__ u UH(half2 x){return *(u*)&x;}
__device__ __nv_bfloat162 B(u x){return *(__nv_bfloat162*)&x;} __device__ u UB(__nv_bfloat162 x){return *(u*)&x;}
KERN(k_fdiv){I; o[i]=U(F(x)/F(y));}
KERN(k_frcp){I; o[i]=U(1.0f/F(x));}
KERN(k_fsqrt){I; o[i]=U(sqrtf(F(x)));}
KERN(k_exp){I; o[i]=U(expf(F(x)));}
KERN(k_log){I; o[i]=U(logf(F(x)));}
KERN(k_tanh){I; o[i]=U(tanhf(F(x)));}
KERN(k_rsqrt){I; o[i]=U(rsqrtf(F(x)));}
KERN(k_ffma){I; o[5*i]=U(fmaf(F(x),F(y),F(z))); o[5*i+1]=U(F(x)+F(y)); o[5*i+2]=U(F(x)*F(y)); o[5*i+3]=U(fminf(F(x),F(y))); o[5*i+4]=U(fmaxf(F(x),F(y)));}
KERN(k_round){I; o[9*i]=U(__fmaf_rd(F(x),F(y),F(z))); o[9*i+1]=U(__fmaf_ru(F(x),F(y),F(z))); o[9*i+2]=U(__fmaf_rz(F(x),F(y),F(z))); o[9*i+3]=U(__fadd_rd(F(x),F(y))); o[9*i+4]=U(__fadd_ru(F(x),F(y))); o[9*i+5]=U(__fadd_rz(F(x),F(y))); o[9*i+6]=U(__fmul_rd(F(x),F(y))); o[9*i+7]=U(__fmul_ru(F(x),F(y))); o[9*i+8]=U(__saturatef(F(x)*F(y)));}
KERN(k_ftz){I; float r,s,t,m; asm("fma.rn.ftz.f32 %0,%1,%2,%3;":"=f"(r):"f"(F(x)),"f"(F(y)),"f"(F(z))); asm("add.ftz.f32 %0,%1,%2;":"=f"(s):"f"(F(x)),"f"(F(y))); asm("mul.ftz.f32 %0,%1,%2;":"=f"(t):"f"(F(x)),"f"(F(y))); asm("min.ftz.f32 %0,%1,%2;":"=f"(m):"f"(F(x)),"f"(F(y))); o[4*i]=U(r);o[4*i+1]=U(s);o[4*i+2]=U(t);o[4*i+3]=U(m);}
KERN(k_mufu){I; float r; 
 asm("rcp.approx.ftz.f32 %0,%1;":"=f"(r):"f"(F(x))); o[6*i]=U(r); asm("ex2.approx.ftz.f32 %0,%1;":"=f"(r):"f"(F(x))); o[6*i+1]=U(r); asm("rsqrt.approx.ftz.f32 %0,%1;":"=f"(r):"f"(F(x))); o[6*i+2]=U(r);
 asm("sqrt.approx.ftz.f32 %0,%1;":"=f"(r):"f"(F(x))); o[6*i+3]=U(r); asm("lg2.approx.ftz.f32 %0,%1;":"=f"(r):"f"(F(x))); o[6*i+4]=U(r); asm("tanh.approx.f32 %0,%1;":"=f"(r):"f"(F(x))); o[6*i+5]=U(r);}
KERN(k_fcmp){I; float p=F(x),q=F(y); u r=0; r|=(p<q)?1:0; r|=(p<=q)?2:0; r|=(p>q)?4:0; r|=(p>=q)?8:0; r|=(p==q)?16:0; r|=(p!=q)?32:0; r|=isnan(p)?64:0; r|=!(p<q)?128:0; o[i]=r;}
KERN(k_int){I; int s=x,t=y; o[10*i]=__umulhi(x,y); o[10*i+1]=__mulhi(s,t); ull w=(ull)x*y+z; o[10*i+2]=w; o[10*i+3]=w>>32; ll v=(ll)s*t+(int)z; o[10*i+4]=v; o[10*i+5]=v>>32; o[10*i+6]=min(s,t); o[10*i+7]=max(x,y); o[10*i+8]=abs(s); o[10*i+9]=min(s+t,(int)z);}
KERN(k_mad){I; o[6*i]=x*y+z; u h; asm("mad.hi.u32 %0,%1,%2,%3;":"=r"(h):"r"(x),"r"(y),"r"(z)); o[6*i+1]=h; asm("mad.hi.s32 %0,%1,%2,%3;":"=r"(h):"r"(x),"r"(y),"r"(z)); o[6*i+2]=h; ull q=((ull)x<<32|y)+((ull)y<<32|z)+((ull)z<<32|x); o[6*i+3]=q; o[6*i+4]=q>>32; o[6*i+5]=x-y-z;}
KERN(k_shift){I; ull w=(ull)y<<32|x; ll s=w; u k=z&127; u r;
 asm("shl.b64 %0,%0,%1;":"+l"(w):"r"(k)); o[12*i]=w; o[12*i+1]=w>>32; w=(ull)y<<32|x; asm("shr.u64 %0,%0,%1;":"+l"(w):"r"(k)); o[12*i+2]=w; o[12*i+3]=w>>32; asm("shr.s64 %0,%0,%1;":"+l"(s):"r"(k)); o[12*i+4]=s; o[12*i+5]=s>>32;
 asm("shl.b32 %0,%1,%2;":"=r"(r):"r"(x),"r"(k)); o[12*i+6]=r; asm("shr.u32 %0,%1,%2;":"=r"(r):"r"(x),"r"(k)); o[12*i+7]=r; asm("shr.s32 %0,%1,%2;":"=r"(r):"r"(x),"r"(k)); o[12*i+8]=r; o[12*i+9]=__funnelshift_l(x,y,k); o[12*i+10]=__funnelshift_rc(x,y,k); o[12*i+11]=__funnelshift_lc(x,y,k);}
KERN(k_bits){I; u r; o[12*i]=__brev(x); o[12*i+1]=__popc(x); o[12*i+2]=__clz(x); o[12*i+3]=__ffs(x); o[12*i+4]=__byte_perm(x,y,z); asm("bfe.s32 %0,%1,%2,%3;":"=r"(r):"r"(x),"r"(y&63),"r"(z&63)); o[12*i+5]=r; asm("bfe.u32 %0,%1,%2,%3;":"=r"(r):"r"(x),"r"(y&63),"r"(z&63)); o[12*i+6]=r; asm("bfi.b32 %0,%1,%2,%3,%4;":"=r"(r):"r"(x),"r"(y),"r"(z&63),"r"((z>>8)&63)); o[12*i+7]=r; asm("bfind.s32 %0,%1;":"=r"(r):"r"(x)); o[12*i+8]=r; asm("bmsk.clamp.b32 %0,%1,%2;":"=r"(r):"r"(y&63),"r"(z&63)); o[12*i+9]=r;  asm("bmsk.wrap.b32 %0,%1,%2;":"=r"(r):"r"(y&63),"r"(z&63)); o[12*i+10]=r; asm("szext.wrap.s32 %0,%1,%2;":"=r"(r):"r"(x),"r"(y&63)); o[12*i+11]=r;}
KERN(k_cvt){I; float f=F(x); o[14*i]=__float2int_rn(f); o[14*i+1]=__float2int_rz(f); o[14*i+2]=__float2uint_rn(f); o[14*i+3]=__float2uint_rz(f); o[14*i+4]=U(__int2float_rn(x)); o[14*i+5]=U(__uint2float_rn(x)); o[14*i+6]=U(__int2float_ru(x)); o[14*i+7]=U(__uint2float_ru(x)); o[14*i+8]=__float2int_rd(f); o[14*i+9]=__float2int_ru(f); o[14*i+10]=U(floorf(f)); o[14*i+11]=U(truncf(f)); o[14*i+12]=U(rintf(f)); o[14*i+13]=U(roundf(f)); }
KERN(k_half){I; half2 p=H(x),q=H(y),r=H(z); o[8*i]=UH(__hadd2(p,q)); o[8*i+1]=UH(__hmul2(p,q)); o[8*i+2]=UH(__hfma2(p,q,r)); o[8*i+3]=UH(__floats2half2_rn(F(x),F(y))); o[8*i+4]=U(__low2float(p)); o[8*i+5]=U(__high2float(p)); o[8*i+6]=UH(__hmin2(p,q)); o[8*i+7]=UH(__hmax2(p,q));}
KERN(k_hcmp){I; half2 p=H(x),q=H(y); u r=0; r|=__hlt(p.x,q.x)?1:0; r|=__hge(p.y,q.y)?2:0; r|=__hbeq2(p,q)?4:0; r|=__heq(p.x,q.y)?8:0; r|=__hneu(p.x,q.y)?16:0; r|=__hbltu2(p,q)?32:0; o[2*i]=r; o[2*i+1]=UH(__hlt2(p,q));}
KERN(k_bf){I; auto p=B(x),q=B(y),r=B(z); o[8*i]=UB(__hadd2(p,q)); o[8*i+1]=UB(__hmul2(p,q)); o[8*i+2]=UB(__hfma2(p,q,r)); o[8*i+3]=UB(__floats2bfloat162_rn(F(x),F(y))); o[8*i+4]=U(__low2float(p)); o[8*i+5]=U(__high2float(p)); o[8*i+6]=UB(__hmin2(p,q)); o[8*i+7]=UB(__hmax2(p,q));}
KERN(k_dp4a){I; o[4*i]=__dp4a((int)x,(int)y,(int)z); o[4*i+1]=__dp4a(x,y,z); u r; asm("dp4a.s32.u32 %0,%1,%2,%3;":"=r"(r):"r"(x),"r"(y),"r"(z)); o[4*i+2]=r; o[4*i+3]=0;}
KERN(k_shatom){ __shared__ u s[64]; __shared__ float sf[4]; int t=threadIdx.x; if(t<64) s[t]=0; if(t<4) sf[t]=0; __syncthreads(); int i=blockIdx.x*blockDim.x+t; u x=a[i%n],y=b[i%n]; atomicAdd(&s[x&15],1u); atomicAdd(&s[16+(x&3)],y); atomicMax((int*)&s[20+(x&3)],(int)y); atomicMin(&s[24],y); atomicXor(&s[25],y); atomicAnd(&s[26],y); atomicOr(&s[27],y); atomicExch(&s[28],7u); atomicCAS(&s[29+(x&3)],0u,5u); u old=atomicAdd(&s[40],1u); atomicAdd(&sf[0],1.0f); __syncthreads(); if(t<64) o[t]=s[t]; if(t<4) o[64+t]=U(sf[t]); o[68+t]=old&0;}
KERN(k_shfl){I; o[8*i]=__shfl_xor_sync(~0u,x,5); o[8*i+1]=__shfl_down_sync(~0u,x,3); o[8*i+2]=__shfl_up_sync(~0u,x,7); o[8*i+3]=__shfl_sync(~0u,x,y&63); o[8*i+4]=__shfl_xor_sync(~0u,x,y&63,8); o[8*i+5]=__shfl_down_sync(~0u,x,y&63,16); o[8*i+6]=__shfl_up_sync(~0u,x,y&63,4); o[8*i+7]=__shfl_sync(~0u,x,y&63,8);}
KERN(k_vote){I; o[6*i]=__ballot_sync(~0u,x&1); o[6*i+1]=__any_sync(~0u,x==y); o[6*i+2]=__all_sync(~0u,x!=y); o[6*i+3]=0; o[6*i+4]=__activemask(); o[6*i+5]=__reduce_add_sync(~0u,x);}
KERN(k_div){I; int s=x,t=y|1; o[6*i]=x/(y|1); o[6*i+1]=x%(y|1); o[6*i+2]=s/t; o[6*i+3]=s%t; o[6*i+4]=x/7; o[6*i+5]=s%10;}
KERN(k_local){I; u l[16]; for(int j=0;j<16;j++) l[j]=a[(i+j)%n]*(j+1); u s=0; for(int j=0;j<(z&15)+1;j++){ s=s*3+l[(x>>j)&15]; l[s&15]^=y; } o[i]=s;}
__device__ __noinline__ u rec(u n,u x){ return n<2?x:rec(n-1,x*3+1)+rec(n-2,x^n); }
KERN(k_call){I; o[i]=rec(z&7,x);}
KERN(k_switch){I; u s=x; for(int j=0;j<(z&7)+1;j++){ switch((s+j)%6){case 0:s+=y;break;case 1:s*=3;break;case 2:s^=z;break;case 3:s-=7;break;case 4:s=__brev(s);break;default:s+=9;} if((s&255)==77) break; } o[i]=s;}
KERN(k_diverge){I; u s=0; while(x>3){ if(x&1){ x=3*x+1; if((x&7)==4){s+=5; continue;} } else x>>=1; s++; if(s>200) break; x&=0xffff; } o[i]=s*2+x;}

#define LD(p,k) p[(k)*32+l]
extern "C" __global__ void k_mma(const u* a,const u* b,const u* c,u* o,int n){ int l=threadIdx.x; float d[4]; u e[2];
 for(int i=0;i<4;i++) d[i]=F(LD(c,i)); asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};":"+f"(d[0]),"+f"(d[1]),"+f"(d[2]),"+f"(d[3]):"r"(LD(a,0)),"r"(LD(a,1)),"r"(LD(a,2)),"r"(LD(a,3)),"r"(LD(b,0)),"r"(LD(b,1))); for(int i=0;i<4;i++) LD(o,i)=U(d[i]);
 for(int i=0;i<4;i++) d[i]=F(LD(c,i)); asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};":"+f"(d[0]),"+f"(d[1]),"+f"(d[2]),"+f"(d[3]):"r"(LD(a,4)),"r"(LD(a,5)),"r"(LD(a,6)),"r"(LD(a,7)),"r"(LD(b,4)),"r"(LD(b,5))); for(int i=0;i<4;i++) LD(o,4+i)=U(d[i]);
 for(int i=0;i<4;i++) d[i]=F(LD(c,i)); asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};":"+f"(d[0]),"+f"(d[1]),"+f"(d[2]),"+f"(d[3]):"r"(LD(a,0)),"r"(LD(a,1)),"r"(LD(b,0))); for(int i=0;i<4;i++) LD(o,8+i)=U(d[i]);
 e[0]=LD(a,2); e[1]=LD(a,3); asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1},{%2,%3,%4,%5},{%6,%7},{%0,%1};":"+r"(e[0]),"+r"(e[1]):"r"(LD(a,0)),"r"(LD(a,1)),"r"(LD(a,2)),"r"(LD(a,3)),"r"(LD(b,0)),"r"(LD(b,1))); LD(o,12)=e[0]; LD(o,13)=e[1];
 int g[4]={1,2,3,4}; asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};":"+r"(g[0]),"+r"(g[1]),"+r"(g[2]),"+r"(g[3]):"r"(LD(a,8)),"r"(LD(a,9)),"r"(LD(a,10)),"r"(LD(a,11)),"r"(LD(b,8)),"r"(LD(b,9))); for(int i=0;i<4;i++) LD(o,14+i)=g[i];
 for(int i=0;i<4;i++) g[i]=i; asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};":"+r"(g[0]),"+r"(g[1]),"+r"(g[2]),"+r"(g[3]):"r"(LD(a,8)),"r"(LD(a,9)),"r"(LD(b,8))); for(int i=0;i<4;i++) LD(o,18+i)=g[i];
 __shared__ __align__(16) u s[2][512]; for(int i=0;i<16;i++) s[0][i*32+l]=LD(a,i); __syncthreads(); u p=(u)__cvta_generic_to_shared(&s[0][((l*5+3)&31)*4]); u r[4];
 asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];":"=r"(r[0]),"=r"(r[1]),"=r"(r[2]),"=r"(r[3]):"r"(p)); for(int i=0;i<4;i++) LD(o,22+i)=r[i];
 asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];":"=r"(r[0]),"=r"(r[1]),"=r"(r[2]),"=r"(r[3]):"r"(p)); for(int i=0;i<4;i++) LD(o,26+i)=r[i];
 asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1},[%2];":"=r"(r[0]),"=r"(r[1]):"r"(p)); LD(o,30)=r[0]; LD(o,31)=r[1];
 p=(u)__cvta_generic_to_shared(&s[1][((l*7+1)&31)*4]); for(int i=0;i<16;i++) s[1][i*32+l]=0; __syncthreads();
 asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0],{%1,%2,%3,%4};"::"r"(p),"r"(LD(b,0)),"r"(LD(b,1)),"r"(LD(b,2)),"r"(LD(b,3))); __syncthreads(); for(int i=0;i<4;i++) LD(o,32+i)=s[1][i*32+l]; __syncthreads();
 asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0],{%1,%2};"::"r"(p),"r"(LD(b,4)),"r"(LD(b,5))); __syncthreads(); for(int i=0;i<4;i++) LD(o,36+i)=s[1][i*32+l];
}
extern "C" __global__ void k_atom(const u* a,const u* b,const u* c,u* o,int n){ int i=threadIdx.x; u x=a[i],y=b[i]; atomicAdd(o+(x&7),y); atomicMin((int*)o+8,(int)y); atomicMax(o+9,y); atomicAnd(o+10,y|0xff); atomicOr(o+11,y); atomicXor(o+12+(x&1),y); atomicInc(o+14,20u); atomicAdd((float*)o+15,1.5f); u r=atomicAdd(o+16,2u); atomicOr(o+17,r); atomicCAS(o+18+(x&3),0u,9u); }
